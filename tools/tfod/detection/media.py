"""Finds the images and videos to run a detector on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.errors import UserError
from tfod.image_files import find_images

VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})


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
      UserError: an input does not exist, a folder contains no images, or a video cannot be opened.
    """
    media = []
    for path in inputs:
        if path.suffix.lower() in VIDEOS:
            media.append(MediaFile(path, _frames(path), True))
        else:
            media += [MediaFile(image, 1, False) for image in find_images([path])]
    return list({file.path: file for file in media}.values())


def _frames(video: Path) -> int:
    import supervision as sv

    if not video.is_file():
        raise UserError(video, "does not exist", "Give an image, a folder of images or a video")
    try:
        return max(sv.VideoInfo.from_video_path(str(video)).total_frames or 0, 0)
    except Exception as error:  # OpenCV and supervision raise their own types
        raise UserError(
            video, "cannot be opened as a video", "Convert it to MP4 with H.264"
        ) from error
