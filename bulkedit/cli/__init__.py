"""The command line: parses arguments, calls the modules below, and prints results."""
