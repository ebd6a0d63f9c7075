"""The command line: `main` decides between the short way and typer; commands are in one file per theme."""
