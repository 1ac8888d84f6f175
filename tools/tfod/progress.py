"""Progress of long operations: the callback protocol, and progress bars that implement it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")

# Called as `progress(stage, done, total)`: name of the stage, units done, and units in total, None
# if the total is unknown. A stage starts when the previous one is finished, or before that one has
# done anything, which then continues later.
Progress = Callable[[str, int, "int | None"], None]


def silent(stage: str, done: int, total: int | None) -> None:
    """A `Progress` that shows nothing."""


def tracked(
    items: Iterable[Item], progress: Progress, stage: str, total: int | None = None
) -> Iterator[Item]:
    """Yields the items, and reports each as done when the next one is requested."""
    progress(stage, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        progress(stage, done, total)


def open_bar(**options: Any) -> tqdm:
    """Returns a bar of tqdm on stderr that fits into the terminal."""
    from tqdm import tqdm

    with suppress(OSError, ValueError):  # stderr is not a terminal
        if not any(os.get_terminal_size(sys.stderr.fileno())):
            # A terminal without a size, such as that of commands in Colab. tqdm would show nothing.
            return tqdm(ncols=120, nrows=24, **options)
    return tqdm(dynamic_ncols=True, **options)


@contextmanager
def progress_bars(unit: str = "image") -> Iterator[Progress]:
    """Yields a `Progress` that shows a bar with the remaining time for each stage.

    Args:
      unit: the unit of `done` and `total`; "B" for bytes.
    """
    scale = {"unit_scale": True, "unit_divisor": 1024} if unit == "B" else {}
    with ExitStack() as open_bars:
        bars: dict[str, tqdm] = {}

        def update(stage: str, done: int, total: int | None) -> None:
            if stage not in bars:
                for finished in bars.values():
                    finished.leave = finished.n > 0  # otherwise, the stage continues after this one
                    finished.close()
                bars.clear()
                bar = open_bar(desc=stage, total=total, unit=unit, **scale)
                bars[stage] = open_bars.enter_context(bar)
            bars[stage].update(done - bars[stage].n)

        yield update
