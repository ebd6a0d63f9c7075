"""Small wrong changes to the source, each of which some test must catch: `python -m tests.mutants` (`make mutants`)."""
