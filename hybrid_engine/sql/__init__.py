"""The index of all workflows, finished or not, in SQLite: a view that is deletable and comes back from the folders.

The only room that knows sqlite3. It knows nothing of folders: whoever rebuilds it hands in a source of records.
"""
