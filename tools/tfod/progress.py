"""How long work reports how far it is: one protocol, and one progress bar that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

Item = TypeVar("Item")

# Called as `progress(stage, done, total)`: the name of the stage, how much of it is done, and how
# much there is in all, None where that is not known. Stages follow one another.
Progress = Callable[[str, int, "int | None"], None]


def silent(stage: str, done: int, total: int | None) -> None:
    """Shows nothing."""


def tracked(
    items: Iterable[Item], progress: Progress, stage: str, total: int | None = None
) -> Iterator[Item]:
    """The items as they come, each reported when the next one is asked for."""
    progress(stage, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        progress(stage, done, total)


@contextmanager
def progress_bars(unit: str = "image") -> Iterator[Progress]:
    """A `Progress` that shows a bar with ETA for each stage.

    Args:
      unit: what is counted; "B" for bytes.
    """
    from tqdm import tqdm

    scale = {"unit_scale": True, "unit_divisor": 1024} if unit == "B" else {}
    with ExitStack() as bars:
        shown: dict[str, tqdm] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in shown:
                for finished in shown.values():
                    finished.close()
                bar = tqdm(desc=stage, total=total, unit=unit, dynamic_ncols=True, **scale)
                shown[stage] = bars.enter_context(bar)
            shown[stage].update(done - shown[stage].n)

        yield show
