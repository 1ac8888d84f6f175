"""A run with a smaller input in its first steps, which are then faster.

What the detector has learned at the small size holds at the larger one, apart from details that the
last steps teach it (progressive resizing: Tan and Le, "EfficientNetV2", 2021).
"""

from __future__ import annotations

FIRST_PART = 2 / 3  # of the steps
SMALLEST, STRIDE = 320, 32  # pixels: the least size, and what sizes are multiples of


def first_size(size: int) -> int:
    """Returns the size in pixels of the first steps, for the size of the last ones.

    About 0.7 times the size, at which a step takes half as long, but not below `SMALLEST`: the
    comparisons are in `pipelines/README.md`.
    """
    return min(size, max(SMALLEST, round(size / 2**0.5 / STRIDE) * STRIDE))


def is_first_part(done: int, steps: int) -> bool:
    """Whether the step after `done` steps belongs to the first part of a run of `steps`."""
    return done < round(FIRST_PART * steps)


def mean_cost(first: int, size: int) -> float:
    """Returns the mean duration of a step, as a multiple of one with the final size."""
    return FIRST_PART * (first / size) ** 2 + 1 - FIRST_PART
