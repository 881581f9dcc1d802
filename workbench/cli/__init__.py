"""The command line: Typer commands, each of which imports what it needs inside itself."""
