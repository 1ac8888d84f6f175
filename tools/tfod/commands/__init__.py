"""One module a command of the command line, with its arguments and what it prints."""
