"""`tfod train`: a run, its progress bar and its summary."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tfod.commands.options import FOLDER, OVERWRITE
from tfod.commands.tables import share, table
from tfod.training.precision import AUTO, PRECISIONS
from tfod.training.strategy import STRATEGIES


@click.command()
@click.option("--data", type=FOLDER, required=True, help="Data set that convert wrote.")
@click.option("--pipeline", required=True, help="Template name, or a pipeline.config file.")
@click.option("--output", type=FOLDER, required=True, help="Run folder; one that is there resumes.")
@click.option(
    "--init",
    default="zoo",
    show_default=True,
    metavar="zoo|scratch|NAME|PATH",
    help="Weights to start from: zoo, scratch, a NAME of `tfod zoo`, or a checkpoint: PATH/ckpt-0.",
)
@click.option(
    "--init-type",
    type=click.Choice(["detection", "full", "classification"]),
    help="What to take from the checkpoint.  [default: detection or classification, as it holds]",
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps.  [default: template]")
@click.option("--batch-size", type=click.IntRange(1), help="Pictures a step.  [default: template]")
@click.option("--learning-rate", type=float, help="Peak.  [default: template, scaled to the batch]")
@click.option("--checkpoint-every", type=click.IntRange(1), default=100, show_default=True)
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Checkpoints.")
@click.option("--eval-every", type=click.IntRange(1), help="Steps.  [default: a tenth of the run]")
@click.option(
    "--patience", type=click.IntRange(1), help="Stop after so many evaluations without a better AP."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--deterministic", is_flag=True, help="The same weights each time, to the last bit.")
@click.option("--balance", is_flag=True, help="Show pictures with rare classes more often.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=AUTO,
    show_default=True,
    help="Of convolutions: auto takes bfloat16 where the processor has it.",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="auto",
    show_default=True,
    help="auto takes every GPU, and several machines where TF_CONFIG names them.",
)
@OVERWRITE
def train(
    data: Path,
    pipeline: str,
    output: Path,
    init: str,
    init_type: str | None,
    steps: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    checkpoint_every: int,
    keep: int,
    eval_every: int | None,
    patience: int | None,
    seed: int,
    deterministic: bool,
    balance: bool,
    precision: str,
    strategy: str,
    overwrite: bool,
) -> None:
    """Train a detector. The same command goes on with a run that was stopped.

    It is evaluations on the val split as it learns, and the best weights are kept.

    \b
    Example:
      tfod train --data data/signs --pipeline ssd_mobilenet_v2_fpnlite_320x320 --output runs/signs
    """
    from tqdm import tqdm

    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options
    from tfod.model.templates import find_template
    from tfod.training import Evaluation, RunSettings, Step, train
    from tfod.training.events import WorkerLostError

    dataset, template = load_dataset(data), find_template(pipeline)
    options = Options(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        init=_checkpoint(init, template),
        init_type=init_type,
    )
    shown: dict[str, str] = {}
    evaluations: list[Evaluation] = []
    with tqdm(unit="step", desc="building", mininterval=0.5, dynamic_ncols=True) as bar:

        def show(step: Step) -> None:
            if bar.total is None:
                bar.reset(step.of)
                bar.initial = bar.n = step.number - 1
                bar.set_description("training", refresh=False)
            shown["loss"] = f"{step.total_loss:.3f}"
            shown["images/s"] = f"{step.images_per_second:.1f}"
            bar.set_postfix(shown, refresh=False)
            bar.update()

        def keep(evaluation: Evaluation) -> None:
            shown["AP"] = f"{evaluation.ap:.3f}"
            evaluations.append(evaluation)

        def note(text: str) -> None:
            tqdm.write(f"note: {text}", file=sys.stderr)  # above the bar, not into it

        settings = RunSettings(
            seed=seed,
            checkpoint_every=checkpoint_every,
            keep=keep,
            eval_every=eval_every,
            patience=patience,
            deterministic=deterministic,
            precision=precision,
            balance=balance,
        )
        try:
            last = train(
                *(dataset, str(template), output, options, settings, overwrite),
                on_step=show,
                on_evaluation=keep,
                on_note=note,
                strategy=strategy,
            )
        except WorkerLostError as error:
            if not error.had_begun:
                raise
            bar.close()
            click.echo("a worker is gone; waiting for it, to go on from the checkpoint", err=True)
            _begin_again()
    if evaluations:
        table(
            ["step", "AP", "AP50", "AP_small", "val loss", "best"],
            [
                [
                    each.step,
                    *(share(each.metrics[name]) for name in ("AP", "AP50", "AP_small")),
                    f"{each.losses['Loss/total_loss']:.3f}",
                    "*" if each.best else "",
                ]
                for each in evaluations
            ],
        )
    click.echo(f"trained: {last}")


def _checkpoint(init: str, template: Path) -> Path | None:
    """What --init means, fetched from the zoo where it is there."""
    from tfod.model import zoo
    from tfod.progress import progress_bars

    if init == "scratch":
        return None
    archive = zoo.archive_for(template.parent.name) if init == "zoo" else zoo.find_archive(init)
    if archive is None:
        return Path(init)
    with progress_bars("B") as progress:
        return zoo.fetch_checkpoint(archive, progress)


def _begin_again() -> None:
    """Becomes the same command anew, which resumes: TensorFlow cannot mend a broken cluster."""
    words = [word for word in sys.orig_argv[1:] if word != "--overwrite"]
    os.execv(sys.executable, [sys.executable, *words])
