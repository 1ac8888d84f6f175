"""`tfod plan`: shows what `tfod train` would choose."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfod.commands.options import (
    BALANCE,
    BATCH_SIZE,
    EPOCHS,
    FIRST_SIZE,
    INIT,
    LEARNING_RATE,
    LOSSES,
    MINUTES,
    PATH,
    STEPS,
    TARGET,
    TRAINING_SIZE,
    replaced_choices,
)
from tfod.commands.tables import say

if TYPE_CHECKING:
    from tfod.dataset.manifest import Dataset
    from tfod.model.pipeline import Options
    from tfod.planning.plan import Plan
    from tfod.training.settings import RunSettings


@click.command()
@click.option("--data", type=PATH, required=True, help="Data set written by tfod convert.")
@INIT
@STEPS
@EPOCHS
@MINUTES
@TARGET
@TRAINING_SIZE
@FIRST_SIZE
@BATCH_SIZE
@LEARNING_RATE
@BALANCE
@LOSSES
def plan(
    data: Path,
    init: str,
    steps: int | None,
    epochs: float | None,
    minutes: float | None,
    target: str,
    input_size: int | None,
    first_input_size: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    balance: bool | None,
    losses: str | None,
) -> None:
    """Show what tfod train would choose for a data set on this machine, and why.

    With the same options, this is the plan.md of a new run. Nothing is trained or downloaded.

    \b
    Example:
      tfod plan --data data/signs --minutes 30
      tfod plan --data data/signs --init runs/signs --batch-size 8
    """
    from tfod.dataset.manifest import load_dataset
    from tfod.model.earlier_detector import find_earlier_detector
    from tfod.model.pipeline import Options
    from tfod.planning.plan import make_plan, plan_text
    from tfod.planning.rules import DEFAULT_MINUTES, Wishes

    dataset = load_dataset(data)
    wishes = Wishes(minutes or DEFAULT_MINUTES, target, input_size)
    made = make_plan(dataset, wishes, earlier=find_earlier_detector(Path(init)))
    options = Options(input_size, steps, epochs, batch_size, learning_rate)
    settings = dataclasses.replace(
        made.settings,
        minutes=minutes,
        losses=losses or made.settings.losses,
        first_input_size=first_input_size or made.settings.first_input_size,
    )
    _check(made, dataset, init, options, settings)
    given = replaced_choices(
        steps, epochs, first_input_size, batch_size, learning_rate, balance, losses
    )
    for line in plan_text(made, dataset.folder.name, given).splitlines():
        say(line)


def _check(made: Plan, data: Dataset, init: str, options: Options, settings: RunSettings) -> None:
    """Raises the UserError of `tfod train` if it would refuse the options."""
    import tensorflow as tf

    from tfod.model import zoo
    from tfod.model.checkpoint import find_checkpoint
    from tfod.model.pipeline import override
    from tfod.training.checks import check_choices, check_minutes

    if init not in ("zoo", "scratch") and zoo.find_archive(init) is None:
        find_checkpoint(Path(init))
    override(made.pipeline, data, options, Path(init))
    check_choices(made.pipeline, settings)
    if settings.minutes is not None:
        check_minutes(options, settings, made.pipeline, tf.distribute.get_strategy())
