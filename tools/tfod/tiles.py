"""Overlapping tiles of a large image, for small objects. Data sets and detectors use the same."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

OVERLAP = 0.2  # objects that are smaller than a fifth of a tile are complete in at least one
MIN_SIZE = 32  # pixels
Window = tuple[int, int, int, int]  # xmin, ymin, xmax, ymax in pixels of the image


@dataclass(frozen=True)
class Tiles:
    """How images are cut into tiles.

    Attributes:
      size: edge of a tile in pixels. An image with a smaller edge has tiles with that edge.
      overlap: fraction of `size` that two neighboring tiles have in common, at least.

    Raises:
      ValueError: `size` is below `MIN_SIZE` or not an integer, or `overlap` is not in [0, 0.9].
    """

    size: int
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        # They come from files, too, where a size may be anything.
        is_size = isinstance(self.size, int) and self.size >= MIN_SIZE
        if not is_size or not 0 <= self.overlap <= 0.9:
            raise ValueError(f"no tiles of {self.size} pixels with an overlap of {self.overlap}")

    def windows(self, width: int, height: int) -> list[Window]:
        """Returns the tiles of an image, row by row.

        They cover the image and lie inside of it. All have the same size, so that a network that
        stretches them to its input sees objects in the same proportions everywhere.
        """
        rows, columns = self._starts(height), self._starts(width)
        return [
            (x, y, min(x + self.size, width), min(y + self.size, height))
            for y, x in itertools.product(rows, columns)
        ]

    def _starts(self, length: int) -> list[int]:
        if length <= self.size:
            return [0]
        step = self.size * (1 - self.overlap)
        last = length - self.size
        count = math.ceil(last / step)
        return [round(last * index / count) for index in range(count + 1)]
