"""Detector over files, folders and videos, one picture after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfod.annotation import Annotation
from tfod.detections import Detections, detections_from_outputs
from tfod.detector import Detector
from tfod.errors import UserError
from tfod.images import load_rgb
from tfod.parallel import threaded_map
from tfod.pictures import find_pictures
from tfod.records import Record, read_records

VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
TILE_OVERLAP = 0.2  # of a tile's edge: an object smaller than this is whole in one of them


@dataclass(frozen=True, eq=False)
class Prediction:
    """One picture and what was found in it.

    Attributes:
      path: the file.
      frame: of a video, from 0; None for a picture.
      pixels: uint8 `[H, W, 3]` RGB, upright.
      detections: those above the threshold.
    """

    path: Path
    frame: int | None
    pixels: np.ndarray
    detections: Detections

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Source:
    """A picture or video to look at.

    Attributes:
      path: the file.
      frames: 1 for a picture; of a video, how many its header tells of.
      is_video: whether it is one.
    """

    path: Path
    frames: int
    is_video: bool


def find_sources(inputs: Sequence[Path]) -> list[Source]:
    """The pictures and videos among files and folders; folders are searched for pictures.

    Raises:
      UserError: an input is not there, a folder holds no picture, or a video cannot be opened.
    """
    found = []
    for path in inputs:
        if path.suffix.lower() in VIDEOS:
            found.append(Source(path, _frames(path), True))
        else:
            found += [Source(picture, 1, False) for picture in find_pictures([path])]
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


def predict_sources(
    detector: Detector,
    sources: Iterable[Source],
    threshold: float = 0.5,
    tiles: int | None = None,
    on_fault: Callable[[UserError], None] | None = None,
) -> Iterator[Prediction]:
    """Finds objects in pictures and videos. A few pictures are held at a time, never all.

    Args:
      threshold: least score to report, in [0, 1].
      tiles: look at squares of so many pixels one by one, and at what they show together: for
        objects that are small in large pictures.
      on_fault: called with a picture that does not decode, which is then left out; None to raise.

    Raises:
      UserError: a picture does not decode, and there is no `on_fault`.
    """
    detector = detector.for_many()
    look = detector.predict if tiles is None else _in_tiles(detector, tiles)

    def predict(item: tuple[Path, int | None, np.ndarray | None]) -> Prediction | UserError:
        path, frame, pixels = item
        try:
            pixels = load_rgb(path) if pixels is None else pixels
        except UserError as error:
            return error
        return Prediction(path, frame, pixels, look(pixels).above(threshold))

    for found in threaded_map(predict, _items(sources)):
        if isinstance(found, Prediction):
            yield found
        elif on_fault is None:
            raise found
        else:
            on_fault(found)


def predict_records(
    detector: Detector, shards: Sequence[Path]
) -> Iterator[tuple[Annotation, Detections]]:
    """Ground truth and everything that is found, of each record of a data set, in order."""
    detector = detector.for_many()

    def predict(record: Record) -> tuple[Annotation, Detections]:
        return record.annotation, detector.predict(detector.decode(record.image.data))

    return threaded_map(predict, read_records(shards))


def _items(sources: Iterable[Source]) -> Iterator[tuple[Path, int | None, np.ndarray | None]]:
    for source in sources:
        if not source.is_video:
            yield source.path, None, None
            continue
        import supervision as sv

        frames = sv.get_video_frames_generator(str(source.path))
        for number, frame in enumerate(frames):
            yield source.path, number, np.ascontiguousarray(frame[..., ::-1])


def _in_tiles(detector: Detector, edge: int) -> Callable[[np.ndarray], Detections]:
    import supervision as sv

    def look(tile: np.ndarray) -> sv.Detections:
        height, width = tile.shape[:2]
        return detector.predict(np.ascontiguousarray(tile)).to_supervision(width, height)

    overlap = round(edge * TILE_OVERLAP)
    slicer = sv.InferenceSlicer(look, slice_wh=edge, overlap_wh=overlap)

    def predict(pixels: np.ndarray) -> Detections:
        height, width = pixels.shape[:2]
        found = slicer(pixels)
        if not len(found):
            return detections_from_outputs(*np.zeros((3, 0)), detector.labels)
        boxes = found.xyxy[:, [1, 0, 3, 2]] / [height, width, height, width]
        return detections_from_outputs(boxes, found.confidence, found.class_id, detector.labels)

    return predict
