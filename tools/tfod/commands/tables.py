"""Prints messages and tables in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tfod.storage.mirror import urls_of_copies
from tfod.text import printable

if TYPE_CHECKING:
    from tfod.dataset import Dataset

MAX_UNWRAPPED = 30  # characters


def shown(text: str) -> str:
    """Returns a message as it is printed: without control characters, with URLs of copies."""
    return printable(urls_of_copies(text))


def say(text: str) -> None:
    """Prints a line on the standard output."""
    click.echo(shown(text))


def note(text: str) -> None:
    """Prints a note on the standard error output, above a progress bar."""
    from tqdm import tqdm

    tqdm.write(shown(f"note: {text}"), file=sys.stderr)


def table(header: list[str], rows: list[list], total: list | None = None) -> None:
    """Prints a table. The first column is left-aligned, the others are right-aligned.

    Cells are plain text: markup of Rich and control characters have no effect. In a narrow
    terminal the widest column is wrapped first, but not the first column, unless it is very wide.

    Args:
      total: a row below a line, at the end.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()

    def cell(value: object) -> Text:
        text = shown(str(value)).encode(console.encoding, "backslashreplace")
        return Text(text.decode(console.encoding))

    first_column = [cell(row[0]).cell_len for row in rows]
    grid = Table()
    for index, title in enumerate(header):
        grid.add_column(
            cell(title),
            justify="right" if index else "left",
            overflow="fold",
            no_wrap=index == 0 and max(first_column, default=0) <= MAX_UNWRAPPED,
        )
    for row in rows:
        grid.add_row(*map(cell, row))
    if total is not None:
        grid.add_section()
        grid.add_row(*map(cell, total))
    console.print(grid)


def dataset_table(data: Dataset) -> None:
    """Prints the number of objects per class and split of a data set, and that of images."""
    parts = data.splits.values()
    table(
        ["objects", *data.splits],
        [
            [name, *(part.objects_per_class[name] for part in parts)]
            for name in data.classes.values()
        ],
        total=["images", *(part.images for part in parts)],
    )
