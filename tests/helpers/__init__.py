"""Functions that several test modules use: they write small input files and compare results."""
