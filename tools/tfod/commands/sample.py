"""`tfod sample`: writes a synthetic data set."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import PATH
from tfod.commands.stored import when_stored
from tfod.commands.tables import say
from tfod.progress import progress_bars


@click.command()
@click.option("--output", type=PATH, required=True, help="Folder to write, such as data/NAME.")
@click.option(
    "--count", type=click.IntRange(1), default=400, show_default=True, help="Number of images."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the images."
)
@click.option(
    "--large",
    is_flag=True,
    help="Images of 3000 x 2000 pixels with signs of 12 to 24 pixels, for `tfod convert --tiles`.",
)
def sample(output: Path, count: int, seed: int, large: bool) -> None:
    """Write a synthetic road-sign data set, to try all commands without a download.

    \b
    Example:
      tfod sample --output data/sample_voc
    """
    from tfod.sample import write_sample

    with progress_bars() as progress:
        write_sample(output, count, seed, large, progress)
    when_stored(say, f"written: {count} images in {output}/images, {output}/annotations")
