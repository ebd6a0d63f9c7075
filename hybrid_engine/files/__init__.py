"""Everything that touches the home's files: paths, atomic writes, journals, views, the queue folder, the inbox, the lock."""
