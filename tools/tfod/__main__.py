"""Runs the command line with `python -m tfod`."""

from tfod.cli import main

main(prog_name="tfod")
