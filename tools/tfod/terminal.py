"""What the commands show in a terminal: progress bars and tables."""

from __future__ import annotations

import contextlib


def bar(description: str, total: int | None = None):
    """Wraps an iteration in a progress bar with ETA."""
    from tqdm import tqdm

    return lambda items: tqdm(items, desc=description, total=total, dynamic_ncols=True)


@contextlib.contextmanager
def stages():
    """A callback of (stage, done, total) that shows a progress bar a stage."""
    from tqdm import tqdm

    with contextlib.ExitStack() as bars:
        shown: dict[str, tqdm] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                for finished in shown.values():
                    finished.close()
                bar = tqdm(desc=stage, total=total, unit="file", dynamic_ncols=True)
                shown[stage] = bars.enter_context(bar)
            shown[stage].update(done - shown[stage].n)

        yield show


@contextlib.contextmanager
def bytes_bar(description: str):
    """A callback of (bytes done, bytes in all or None) that shows a progress bar once called."""
    from tqdm import tqdm

    with contextlib.ExitStack() as bars:
        shown: list[tqdm] = []

        def show(done: int, total: int | None) -> None:
            if not shown:
                form = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
                shown.append(bars.enter_context(tqdm(desc=description, total=total, **form)))
            shown[0].update(done - shown[0].n)

        yield show


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
