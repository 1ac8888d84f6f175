"""The images and videos that a detector runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.errors import UserError
from tfod.image_files import find_images

VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})


@dataclass(frozen=True)
class MediaFile:
    """A picture or video to look at.

    Attributes:
      path: the file.
      frames: 1 for a picture; of a video, how many its header tells of.
      is_video: whether it is one.
    """

    path: Path
    frames: int
    is_video: bool


def find_media(inputs: Sequence[Path]) -> list[MediaFile]:
    """The pictures and videos among files and folders; folders are searched for pictures.

    Raises:
      UserError: an input is not there, a folder holds no picture, or a video cannot be opened.
    """
    found = []
    for path in inputs:
        if path.suffix.lower() in VIDEOS:
            found.append(MediaFile(path, _frames(path), True))
        else:
            found += [MediaFile(picture, 1, False) for picture in find_images([path])]
    return list({source.path: source for source in found}.values())


def _frames(video: Path) -> int:
    import supervision as sv

    if not video.is_file():
        raise UserError(video, "is not there", "Name a picture, a folder of pictures or a video")
    try:
        return max(sv.VideoInfo.from_video_path(str(video)).total_frames or 0, 0)
    except Exception as error:  # OpenCV's and supervision's own kinds
        raise UserError(
            video, "cannot be opened as a video", "Save it as MP4 with H.264"
        ) from error
