"""The command line: a command parses, calls the Python API and prints."""
