"""Options shared by several commands."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Replace an output folder that this command wrote earlier."
)
INPUT_SIZE = click.option(
    "--input-size",
    type=click.IntRange(32),
    help="Size in pixels that images are resized to.  [default: as in training]",
)
