"""Writes frames of videos as images to annotate."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tfod.errors import BadFilesError, FileFault, UserError, quoted
from tfod.files import UniqueNames, adding_to_folder
from tfod.frames.choice import are_similar, every, scene_changes
from tfod.image_files import list_files
from tfod.images import JPEG_QUALITY
from tfod.parallel import threaded_map
from tfod.progress import Progress, silent, tracked
from tfod.videos import SUFFIXES, Video, check_video, read_frames


@dataclass(frozen=True)
class FrameCounts:
    """What `write_frames` has written.

    Attributes:
      videos: number of videos.
      written: number of images.
      similar: number of frames that were left out because they are similar to the one before.
      faults: of videos that are damaged; the other frames of these videos were written.
    """

    videos: int
    written: int
    similar: int
    faults: tuple[FileFault, ...]


def write_frames(
    inputs: Sequence[Path],
    output: Path,
    interval: str = "1s",
    scenes: bool = False,
    keep_similar: bool = False,
    progress: Progress = silent,
) -> FrameCounts:
    """Writes frames of videos as `output`/NAME_000123.jpg: name of the video, number of the frame.

    The first frame of a video has the number 0, and is always written. Videos of the same name get
    a number, as in NAME_2_000123.jpg. The images are added to `output` when all are complete.

    Args:
      inputs: videos, and folders whose videos are used.
      interval: time between two frames such as "0.5s", or a number of frames such as "30".
      scenes: write the first frame of each scene instead.
      keep_similar: also write frames that look like the last written one.
      progress: called with the stage "frames".

    Raises:
      UserError: an input is not a readable video, `output` already contains frames of a video, or
        it cannot be written. Nothing is written.
    """
    is_due = scene_changes if scenes else every(interval)
    videos = _find_videos(inputs)
    names = UniqueNames()
    named = {names.add(video.path, ""): video for video in videos}
    _refuse_known(named, output)
    total = sum(video.frames for video in videos) if all(v.frames for v in videos) else None
    faults: list[FileFault] = []
    frames = (
        (name, frame)
        for name, video in named.items()
        for frame in read_frames(video.path, faults.append)
    )
    similar = 0

    def images() -> Iterator[tuple[Path, np.ndarray]]:
        nonlocal similar
        for name, frame in tracked(frames, progress, "frames", total):
            is_first = frame.number == 0
            if is_first:
                previous = last = frame
            due = is_first or is_due(previous, frame)
            previous = frame
            if not due:
                continue
            if not (is_first or keep_similar) and are_similar(last, frame):
                similar += 1
                continue
            last = frame
            yield folder / f"{name}_{frame.number:06d}.jpg", frame.rgb()

    with adding_to_folder(output) as folder:
        written = sum(1 for _ in threaded_map(_save, images()))
    return FrameCounts(len(videos), written, similar, tuple(faults))


def _save(item: tuple[Path, np.ndarray]) -> None:
    path, pixels = item
    Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)


def _find_videos(inputs: Sequence[Path]) -> list[Video]:
    """Returns the videos among files and folders, each once.

    Raises:
      UserError: a folder contains no videos, or videos cannot be read.
    """
    paths: dict[Path, Path] = {}  # by the path without links
    for path in inputs:
        files = list_files(path, SUFFIXES) if path.is_dir() else [path]
        if not files:
            remedy = f"Give a folder of videos ({', '.join(sorted(SUFFIXES))})"
            raise UserError(path, "contains no videos", remedy)
        for file in files:
            paths.setdefault(file.resolve(), file)
    videos: list[Video] = []
    faults: list[FileFault] = []
    for path in paths.values():
        try:
            videos.append(check_video(path))
        except FileFault as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise BadFilesError("videos", faults, "Fix them, or leave them out; nothing was written")
    return videos


def _refuse_known(names: Collection[str], output: Path) -> None:
    """Raises a UserError if a folder already contains frames of one of the videos."""
    files = output.iterdir() if output.is_dir() else ()
    for file in sorted(path.name for path in files):
        match = re.fullmatch(r"(.*)_\d{6,}\.jpg", file, re.DOTALL)
        if match and match[1] in names:
            what = f"already contains frames of a video {quoted(match[1])}, such as {file}"
            remedy = "Choose another --output, rename the video, or delete these frames"
            raise UserError(output, what, remedy)
