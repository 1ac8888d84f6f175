"""`tfod train`: trains a detector, with a progress bar and a table of the evaluations."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

import click

from tfod import interruption
from tfod.commands.options import (
    BALANCE,
    BATCH_SIZE,
    EPOCHS,
    FIRST_SIZE,
    INIT,
    LEARNING_RATE,
    LOSSES,
    MINUTES,
    OVERWRITE,
    PATH,
    STEPS,
    TARGET,
    TRAINING_SIZE,
    replaced_choices,
)
from tfod.commands.stored import synchronize, when_stored
from tfod.commands.tables import note, say, table
from tfod.planning.targets import AUTO_PIPELINE
from tfod.text import share
from tfod.training.precision import AUTO, PRECISIONS
from tfod.training.strategy import STRATEGIES

if TYPE_CHECKING:
    from tfod.dataset.manifest import Dataset
    from tfod.model.run_folder import RunFolder
    from tfod.planning.rules import Wishes
    from tfod.training.settings import RunSettings

# A lower best threshold means that objects hardly have higher scores than anything else.
UNTRAINED = 0.05


@click.command()
@click.option("--data", type=PATH, required=True, help="Data set written by tfod convert.")
@click.option(
    "--pipeline",
    default=AUTO_PIPELINE,
    show_default=True,
    help="auto to configure everything, see `tfod plan`; a template; or a pipeline.config file.",
)
@click.option("--output", type=PATH, required=True, help="Run folder. An existing run resumes.")
@INIT
@click.option(
    "--init-type",
    type=click.Choice(["detection", "full", "classification"]),
    help="Part of the checkpoint to restore.  [default: what it contains]",
)
@STEPS
@EPOCHS
@MINUTES
@TARGET
@TRAINING_SIZE
@FIRST_SIZE
@BATCH_SIZE
@LEARNING_RATE
@click.option(
    "--checkpoint-every",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Steps between checkpoints.",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Number of the newest checkpoints to keep.",
)
@click.option(
    "--eval-every",
    type=click.IntRange(1),
    help="Steps between evaluations on the val split.  [default: a tenth of the run]",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    metavar="N",
    help="Stop after N evaluations without a better AP.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of weights, input order and augmentation.",
)
@click.option("--deterministic", is_flag=True, help="Give bit-identical weights in every run.")
@BALANCE
@LOSSES
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=AUTO,
    show_default=True,
    help="Precision of convolutions: auto is bfloat16 on CPUs that support it, otherwise float32. "
    "float16 is for NVIDIA GPUs with tensor cores, such as the T4.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Process each batch in N parts, if it does not fit into memory as a whole.",
)
@click.option("--jit", is_flag=True, help="Compile the steps with XLA, on GPUs.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="auto",
    show_default=True,
    help="auto uses all GPUs, and several machines if TF_CONFIG names them.",
)
@OVERWRITE
def train(
    data: Path,
    pipeline: str,
    output: Path,
    init: str,
    init_type: str | None,
    steps: int | None,
    epochs: float | None,
    minutes: float | None,
    target: str,
    input_size: int | None,
    first_input_size: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    checkpoint_every: int,
    keep: int,
    eval_every: int | None,
    patience: int | None,
    seed: int,
    deterministic: bool,
    balance: bool | None,
    losses: str | None,
    precision: str,
    accumulate: int,
    jit: bool,
    strategy: str,
    overwrite: bool,
) -> None:
    """Train a detector. The same command resumes a run that was interrupted.

    Without --pipeline, tfod chooses what an expert would for this data set, this machine and
    --minutes, and writes the reasons to plan.md in the run folder. The detector is evaluated on the
    val split during training, and the best checkpoint is kept.

    \b
    Example:
      tfod train --data data/signs --output runs/signs
    """
    from tfod.commands.training_bar import TrainingBar
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options
    from tfod.model.run_folder import RunFolder
    from tfod.planning.rules import DEFAULT_MINUTES, Wishes
    from tfod.progress import progress_bars
    from tfod.training import train
    from tfod.training.events import TOTAL_LOSS, WorkerLostError

    given = replaced_choices(
        steps, epochs, first_input_size, batch_size, learning_rate, balance, losses
    )
    dataset = load_dataset(data)
    wishes = Wishes(minutes or DEFAULT_MINUTES, target, input_size)
    run = None if overwrite or not RunFolder(output).is_run else RunFolder(output)
    with closing(TrainingBar()) as bar:
        try:
            with (
                interruption.cleanup(),  # train saves a checkpoint
                _configuration(pipeline, dataset, run, wishes, init, given) as start,
                progress_bars() as progress,
            ):
                options = Options(
                    steps=steps,
                    epochs=epochs,
                    input_size=input_size,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    init=_initial_checkpoint(init, start.template, run),
                    init_type=init_type,
                )
                chosen = start.settings
                settings = dataclasses.replace(
                    chosen,
                    seed=seed,
                    checkpoint_every=checkpoint_every,
                    keep=keep,
                    eval_every=eval_every,
                    patience=patience,
                    deterministic=deterministic,
                    precision=precision,
                    accumulate=accumulate,
                    jit=jit,
                    minutes=minutes or (None if steps or epochs else chosen.minutes),
                    balance=chosen.balance if balance is None else balance,
                    losses=losses or chosen.losses,
                    first_input_size=first_input_size or chosen.first_input_size,
                )
                checkpoint = train(
                    *(dataset, str(start.config), output, options, settings, overwrite),
                    on_step=bar.show_step,
                    on_evaluation=bar.show_evaluation,
                    on_note=note,
                    synchronize=synchronize,
                    strategy=strategy,
                    plan=start.plan,
                    progress=bar.progress(progress),
                )
        except WorkerLostError as error:
            if not error.made_progress:
                raise
            bar.close()
            click.echo(
                "a worker has stopped; waiting for it to resume from the last checkpoint", err=True
            )
            _restart()
    if bar.evaluations:
        table(
            ["step", "epoch", "AP", "AP50", "AP_small", "val loss", "best"],
            [
                [
                    evaluation.step,
                    f"{evaluation.epoch:.1f}",
                    *(share(evaluation.metrics[name]) for name in ("AP", "AP50", "AP_small")),
                    f"{evaluation.losses[TOTAL_LOSS]:.3f}",
                    "*" if evaluation.best else "",
                ]
                for evaluation in bar.evaluations
            ],
        )
    _say_detection(RunFolder(output))
    when_stored(say, f"trained: {checkpoint}")
    when_stored(say, f"next: tfod export --run {output} --output exported_models/{output.name}")


def _say_detection(run: RunFolder) -> None:
    """Prints the input size and the threshold that were best on val."""
    if (size := run.detection_size()) and (threshold := run.threshold()) is not None:
        say(f"best on val: input size {size} x {size}, threshold {threshold:.2f}")
        if threshold < UNTRAINED:
            note("the scores are very low: the detector has learned too little, train it longer")


@dataclasses.dataclass(frozen=True)
class _Start:
    """What a run starts from, before the options of the command.

    Attributes:
      config: a pipeline.config file.
      template: the name of its template, for the zoo's checkpoint.
      settings: defaults.
      plan: text of plan.md, if the pipeline was chosen here.
    """

    config: Path
    template: str
    settings: RunSettings
    plan: str | None = None


@contextmanager
def _configuration(
    pipeline: str,
    data: Dataset,
    run: RunFolder | None,
    wishes: Wishes,
    init: str,
    given: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[_Start]:
    """Yields the configuration that `--pipeline` names; for `auto`, the plan or that of the run.

    Args:
      run: the run to resume.
      init: a detector whose model the plan keeps, or other initial weights.
      given: see `replaced_choices`.
    """
    from tfod.model.pipeline import write_pipeline
    from tfod.model.templates import find_template
    from tfod.training.settings import RunSettings, read_settings

    if pipeline != AUTO_PIPELINE:
        config = find_template(pipeline)
        yield _Start(config, config.absolute().parent.name, RunSettings())
    elif run is not None:  # facts of the machine, such as its cores, may have changed
        yield _Start(run.config, "", read_settings(run))
    else:
        from tfod.model.earlier_detector import find_earlier_detector
        from tfod.planning.plan import make_plan, plan_text

        plan = make_plan(data, wishes, earlier=find_earlier_detector(Path(init)))
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "pipeline.config"
            write_pipeline(plan.pipeline, config)
            text = plan_text(plan, data.folder.name, given)
            yield _Start(config, plan.template, plan.settings, text)


def _initial_checkpoint(init: str, template: str, run: RunFolder | None) -> Path | None:
    """Returns the checkpoint that `--init` names, downloaded if it is a zoo archive.

    Args:
      template: the name of the template, for `zoo`.
      run: the run to resume. An archive that it started from is not needed again: the result is
        then the path in the run's pipeline.config.
    """
    from tfod.model import zoo
    from tfod.model.pipeline import read_pipeline
    from tfod.progress import progress_bars

    if init == "scratch":
        return None
    used = None
    if run is not None:
        used = read_pipeline(run.config).train_config.fine_tune_checkpoint or None
    if used and init == "zoo" and not template:
        return Path(used)
    archive = zoo.archive_for(template) if init == "zoo" else zoo.find_archive(init)
    if archive is None:
        return Path(init)
    if used and Path(used).parent.name == archive.name:
        return Path(used)
    with progress_bars("B") as progress:
        return zoo.fetch_checkpoint(archive, progress)


def _restart() -> NoReturn:
    """Replaces this process with the same command, which resumes.

    TensorFlow cannot restore a broken cluster within a process.
    """
    arguments = [argument for argument in sys.orig_argv[1:] if argument != "--overwrite"]
    os.execv(sys.executable, [sys.executable, *arguments])
