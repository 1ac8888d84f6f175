"""Finds the images and videos to run a detector on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.image_files import find_images
from tfod.videos import SUFFIXES, check_video


@dataclass(frozen=True)
class MediaFile:
    """An image or video file.

    Attributes:
      path: the file.
      frames: 1 for an image; for a video the number of frames in its header.
      is_video: True for a video.
    """

    path: Path
    frames: int
    is_video: bool


def find_media(inputs: Sequence[Path]) -> list[MediaFile]:
    """Returns the images and videos among files and folders. Folders are searched for images only.

    Raises:
      UserError: an input does not exist, a folder contains no images, or a video cannot be read.
    """
    media = []
    for path in inputs:
        if path.suffix.lower() in SUFFIXES:
            media.append(MediaFile(path, check_video(path).frames, True))
        else:
            media += [MediaFile(image, 1, False) for image in find_images([path])]
    return list({file.path: file for file in media}.values())
