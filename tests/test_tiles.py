"""Tests `tiles`: they cover an image, overlap, and lie inside of it."""

from __future__ import annotations

import numpy as np
import pytest

from tfod.tiles import Tiles


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((3000, 2000), Tiles(640)),
        ((2001, 641), Tiles(640)),
        ((1280, 1280), Tiles(640, 0)),
        ((1000, 100), Tiles(300, 0.5)),
        ((333, 777), Tiles(32, 0.9)),
    ],
)
def test_tiles_cover_the_image_and_overlap(size, tiles):
    windows = tiles.windows(*size)
    covered = np.zeros(size[::-1], bool)
    for xmin, ymin, xmax, ymax in windows:
        assert 0 <= xmin < xmax <= size[0]
        assert 0 <= ymin < ymax <= size[1]
        assert (xmax - xmin, ymax - ymin) == (min(tiles.size, size[0]), min(tiles.size, size[1]))
        covered[ymin:ymax, xmin:xmax] = True
    assert covered.all()
    assert len(set(windows)) == len(windows)
    for axis in (0, 1):
        starts = sorted({window[axis] for window in windows})
        ends = sorted({window[axis + 2] for window in windows})
        for start, end in zip(starts[1:], ends, strict=False):
            assert end - start >= tiles.size * tiles.overlap - 1  # the start is a whole pixel


def test_small_image_is_one_tile():
    assert Tiles(640).windows(640, 480) == [(0, 0, 640, 480)]


@pytest.mark.parametrize("wrong", [(31, 0.2), (640.5, 0.2), ("640", 0.2), (640, -0.1), (640, 0.95)])
def test_impossible_tiles_are_refused(wrong):
    with pytest.raises(ValueError, match="no tiles"):
        Tiles(*wrong)
