"""`tfod sample`: a data set to try everything with."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import FOLDER
from tfod.progress import progress_bars


@click.command()
@click.option("--output", type=FOLDER, required=True, help="Folder to write.")
@click.option("--count", type=click.IntRange(1), default=400, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sample(output: Path, count: int, seed: int) -> None:
    """Make a synthetic road-sign data set, so that everything runs with no download.

    \b
    Example:
      tfod sample --output data/sample_voc
    """
    from tfod.sample import write_sample

    with progress_bars() as progress:
        write_sample(output, count, seed, progress)
    click.echo(f"{count} scenes: {output}/images, {output}/annotations")
