"""Prints tables in the terminal."""

from __future__ import annotations


def table(header: list[str], rows: list[list]) -> None:
    """Prints a table. The first column is left-aligned, the others are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    grid = Table()
    for index, title in enumerate(header):
        grid.add_column(title, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    Console().print(grid)
