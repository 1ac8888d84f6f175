"""Finds the images, videos and cameras to run a detector on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.cameras import camera_name, is_url
from tfod.image_files import find_images
from tfod.videos import SUFFIXES, check_video


@dataclass(frozen=True)
class MediaFile:
    """An image or video file, or a camera.

    Attributes:
      path: the file; the name of a camera, see `cameras.camera_name`.
      frames: 1 for an image; for a video the number of frames in its header; 0 for a camera.
      is_video: True for a video.
      camera: the number or the URL of a camera; None for a file.
    """

    path: Path
    frames: int
    is_video: bool
    camera: int | str | None = None


def find_media(inputs: Sequence[str | Path]) -> list[MediaFile]:
    """Returns the images and videos among files and folders, and cameras.

    Folders are searched for images only. A number that is not the name of a file is a camera, and
    so is a URL.

    Raises:
      UserError: an input does not exist, a folder contains no images, or a video cannot be read.
    """
    media = []
    for text in inputs:
        path, camera = Path(text), _camera(str(text))
        if camera is not None:
            media.append(MediaFile(Path(camera_name(camera)), 0, False, camera))
        elif path.suffix.lower() in SUFFIXES:
            media.append(MediaFile(path, check_video(path).frames, True))
        else:
            media += [MediaFile(image, 1, False) for image in find_images([path])]
    return list({file.path: file for file in media}.values())


def _camera(text: str) -> int | str | None:
    if is_url(text):
        return text
    if re.fullmatch(r"[0-9]{1,3}", text) and not Path(text).exists():
        return int(text)
    return None
