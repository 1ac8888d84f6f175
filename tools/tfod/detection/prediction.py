"""Detector over files, folders and videos, one picture after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfod.annotation import Annotation
from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.dataset.records import Record, read_records
from tfod.detection.detections import Detections, detections_from_outputs
from tfod.detection.detector import Detector
from tfod.detection.media import MediaFile
from tfod.errors import UserError
from tfod.images import load_rgb
from tfod.parallel import threaded_map

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


def predict_media(
    detector: Detector,
    sources: Iterable[MediaFile],
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


def _items(sources: Iterable[MediaFile]) -> Iterator[tuple[Path, int | None, np.ndarray | None]]:
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
        boxes = pixel_xyxy_to_normalized_yxyx(found.xyxy, width, height)
        return detections_from_outputs(boxes, found.confidence, found.class_id, detector.labels)

    return predict
