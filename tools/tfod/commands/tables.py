"""Tables, and the numbers in them, as the commands print them."""

from __future__ import annotations


def table(header: list[str], rows: list[list]) -> None:
    """Prints a table, the first column to the left."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for index, title in enumerate(header):
        table.add_column(title, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def share(value: float | None) -> str:
    """A share from 0 to 1, to three digits; a dash for what is not known."""
    return "-" if value is None else f"{value:.3f}"


def part(count: int, of: int) -> str:
    """A count as percent of another; a dash of nothing."""
    return f"{count / of:.1%}" if of else "-"
