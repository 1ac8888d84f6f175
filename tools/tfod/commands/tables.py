"""Formats tables and numbers for the terminal."""

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


def share(value: float | None) -> str:
    """Formats a fraction in [0, 1] with three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def percent(count: int, total: int) -> str:
    """Formats a count as a percentage of a total; a dash if the total is 0."""
    return f"{count / total:.1%}" if total else "-"
