"""`python -m tfod`: the command line."""

from tfod.cli import main

main(prog_name="tfod")
