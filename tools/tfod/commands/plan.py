"""`tfod plan`: shows what `tfod train` would choose."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import MINUTES, PATH, TARGET, TRAINING_SIZE
from tfod.commands.tables import say


@click.command()
@click.option("--data", type=PATH, required=True, help="Data set written by tfod convert.")
@MINUTES
@TARGET
@TRAINING_SIZE
def plan(data: Path, minutes: float | None, target: str, input_size: int | None) -> None:
    """Show what tfod train would choose for a data set on this machine, and why.

    \b
    Example:
      tfod plan --data data/signs --minutes 30
    """
    from tfod.dataset.manifest import load_dataset
    from tfod.planning.plan import make_plan, plan_text
    from tfod.planning.rules import DEFAULT_MINUTES, Wishes

    wishes = Wishes(minutes or DEFAULT_MINUTES, target, input_size)
    for line in plan_text(make_plan(load_dataset(data), wishes), data.name).splitlines():
        say(line)
