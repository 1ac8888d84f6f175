"""Chooses the frames of a video that are worth annotating."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from tfod.errors import UserError
from tfod.videos import Frame

# Called as `is_due(previous, frame)` with two consecutive frames. The first frame is always due.
IsDue = Callable[[Frame, Frame], bool]

INTERVAL = re.compile(r"(?P<seconds>\d*\.?\d+) ?s|(?P<frames>\d+)", re.ASCII)
ROUNDING = 0.001  # seconds: some formats store times in milliseconds

# Both in gray levels of thumbnails, from 0 to 255. Of pairs of different photos of roads, 99 %
# differ by more than 30 in the mean. Consecutive frames of a camera that turns by 1 % of the image
# differ by at most 25.
NEW_SCENE = 30
# Noise, compression and flicker change no block by more than 6. A thing of 12 pixels that moves in
# an image of 1920 x 1080 changes one by 8.
SIMILAR = 6


def every(interval: str) -> IsDue:
    """Chooses one frame per interval.

    Args:
      interval: seconds such as "0.5s", or a number of frames such as "30".

    Raises:
      UserError: `interval` is something else.
    """
    match = INTERVAL.fullmatch(interval.strip())
    length = float(match["seconds"] or match["frames"]) if match else 0.0
    if not match or not 0 < length < math.inf:
        remedy = "Give seconds such as 0.5s, or a number of frames such as 30"
        raise UserError("--every", f"is {interval!r}", remedy)
    if match["frames"]:
        return lambda previous, frame: frame.number % int(match["frames"]) == 0

    def intervals(frame: Frame) -> int:
        return math.floor((frame.seconds + ROUNDING) / length)

    return lambda previous, frame: intervals(frame) > intervals(previous)


def scene_changes(previous: Frame, frame: Frame) -> bool:
    """Chooses the first frame of each scene: gray levels differ by more than 30 in the mean."""
    return bool(_difference(previous, frame).mean() > NEW_SCENE)


def are_similar(a: Frame, b: Frame) -> bool:
    """Returns whether no block of two thumbnails differs by more than 6 gray levels.

    The maximum, not the mean: a small object that moves in front of a standing camera is new.
    """
    return bool(_difference(a, b).max() <= SIMILAR)


def _difference(a: Frame, b: Frame) -> np.ndarray:
    return np.abs(a.thumbnail - b.thumbnail)
