"""Everything that touches the home's files: paths, atomic writes, journals, views, queue, inbox, templates, lock."""
