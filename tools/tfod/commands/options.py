"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tfod import beam
from tfod.commands.stored import StoredPath
from tfod.errors import UserError
from tfod.planning.targets import PHONE, TARGETS
from tfod.progress import progress_bars
from tfod.tiles import MIN_SIZE
from tfod.training import choices

SHIPPED_NAME = "exported_models/road_signs/model_float16.tflite"
# In a source checkout only: packages do not contain it.
SHIPPED_MODEL = Path(__file__).parents[3] / SHIPPED_NAME

PATH = StoredPath(path_type=Path)
TEXT = StoredPath(path_type=str)  # of parameters that are not always paths
ANNOTATIONS = click.option(
    "--annotations", type=PATH, help="Folder of the XML files.  [default: beside the images]"
)
OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Replace an output folder that this command wrote earlier."
)
INIT = click.option(
    "--init",
    type=TEXT,
    default="zoo",
    show_default=True,
    metavar="zoo|scratch|NAME|PATH",
    help="Initial weights: the template's zoo checkpoint, random weights, a NAME of `tfod zoo`, "
    "a checkpoint such as PATH/ckpt-0, or a run or export folder, whose classes are kept if the "
    "data set has them, too.",
)
STEPS = click.option(
    "--steps",
    type=click.IntRange(1),
    help="Optimizer steps.  [default: those that fit into --minutes; those of a template]",
)
EPOCHS = click.option(
    "--epochs",
    type=click.FloatRange(0, min_open=True),
    help="The same as a number of passes through the training images. More steps or epochs than "
    "before continue a finished run.",
)
MINUTES = click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Train for at most this long.  [default: 60, without --pipeline, --steps and --epochs]",
)
TARGET = click.option(
    "--for",
    "target",
    type=click.Choice(TARGETS),
    default=PHONE,
    show_default=True,
    help="Where the detector will run.",
)
TRAINING_SIZE = click.option(
    "--input-size",
    type=click.IntRange(32),
    help="Size in pixels that images are resized to.  [default: auto, see `tfod plan`; that of a "
    "template]",
)
FIRST_SIZE = click.option(
    "--first-input-size",
    type=click.IntRange(32),
    help="Size in the first two thirds of the steps, which are then faster.  [default: auto; the "
    "same with a template]",
)
BATCH_SIZE = click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images per step.  [default: auto; that of a template]",
)
LEARNING_RATE = click.option(
    "--learning-rate",
    type=float,
    help="Peak learning rate.  [default: auto; that of a template, scaled with the batch size]",
)
BALANCE = click.option(
    "--balance/--no-balance",
    default=None,
    help="Repeat images with rare classes.  [default: auto; no with a template]",
)
LOSSES = click.option(
    "--losses",
    type=click.Choice(choices.LOSSES),
    help="Those of the template, or GIoU and quality focal loss.  "
    "[default: auto; template with a template]",
)
INPUT_SIZE = click.option(
    "--input-size",
    type=click.IntRange(32),
    help="Size in pixels that images are resized to.  [default: the best on val, or the training "
    "size]",
)

TILES = click.option(
    "--tiles",
    type=click.IntRange(MIN_SIZE),
    metavar="PIXELS",
    help="Detect small objects in large images: in overlapping squares of this size.  [default: "
    "as in the training data]",
)

RUNNER = click.option(
    "--runner", help="Run on a cluster: an Apache Beam runner such as FlinkRunner."
)
RUNNER_OPTION = click.option(
    "--runner-option",
    "runner_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the runner, such as flink_master=host:8081. Can be repeated.",
)


def replaced_choices(
    steps: int | None,
    epochs: float | None,
    first_input_size: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    balance: bool | None,
    losses: str | None,
) -> dict[str, str]:
    """Returns the options that replace choices of a plan, for `planning.plan.plan_text`."""
    given = {
        "first steps": ("--first-input-size", first_input_size),
        "batch size": ("--batch-size", batch_size),
        "steps": ("--steps", steps) if steps else ("--epochs", epochs),
        "optimizer": ("--learning-rate", learning_rate),
        "class balance": ("--balance" if balance else "--no-balance", balance),
        "losses": ("--losses", losses),
    }
    return {
        what: option if isinstance(value, bool) else f"{option} {value}"
        for what, (option, value) in given.items()
        if value is not None
    }


def beam_options(runner: str | None, runner_options: Sequence[str]) -> list[str]:
    """Returns the options of a Beam pipeline, see `beam.Cluster`; none without `--runner`.

    Raises:
      UserError: there is no `--runner` for the options; Beam is not installed, or does not know an
        option or the runner.
    """
    if runner is None:
        if runner_options:
            raise UserError("--runner-option", "needs --runner", "Give both or none")
        return []
    options = [f"--runner={runner}", *(f"--{option}" for option in runner_options)]
    beam.new_pipeline(options)  # an error now, not after a part of the work
    return options


def find_cluster(
    runner: str | None, runner_options: Sequence[str], output: Path | None
) -> beam.Cluster | None:
    """Returns where the detector runs; None without `--runner`.

    Args:
      output: temporary files are written beside it; None for the current folder.

    Raises:
      UserError: see `beam_options`.
    """
    options = beam_options(runner, runner_options)
    scratch = Path() if output is None else output.parent
    return beam.Cluster(options, scratch) if options else None


def find_model(path: Path) -> Path:
    """Returns the path, or the folder of the zoo model with this name, downloaded if needed.

    Raises:
      UserError: the model cannot be downloaded.
    """
    from tfod.model import zoo

    archive = None if path.exists() else zoo.find_archive(str(path))
    if archive is None:
        return path
    with progress_bars("B") as progress:
        return zoo.fetch_model(archive, progress)


def shipped_model() -> Path:
    """Returns the detector of road signs, the default of `--model`.

    Raises:
      UserError: this is not a source checkout.
    """
    if not SHIPPED_MODEL.is_file():
        raise UserError("--model", "is missing", "Give a model written by tfod export")
    return SHIPPED_MODEL
