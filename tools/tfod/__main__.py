"""Runs the command line: `tfod`, or `python -m tfod`."""

from tfod import interruption


def run() -> None:
    """Runs the command that the arguments of this process name."""
    interruption.handle_ctrl_c()  # first: importing takes most of the time of a short command
    from tfod.cli import main

    try:
        main(prog_name="tfod")
    finally:
        interruption.ignore_ctrl_c()


if __name__ == "__main__":
    run()
