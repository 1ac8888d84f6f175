"""Runs a detector on files, folders, videos and cameras, one image after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.beam import Cluster
from tfod.cameras import read_camera
from tfod.dataset.records import Record, read_records
from tfod.detection.detections import Detections
from tfod.detection.detector import Detector
from tfod.detection.media import MediaFile
from tfod.detection.on_cluster import detect_in_images, detect_in_records
from tfod.errors import UserError
from tfod.images import load_rgb
from tfod.model.detection_file import DEFAULT_THRESHOLD
from tfod.parallel import threaded_map
from tfod.progress import Progress, silent
from tfod.videos import read_frames

if TYPE_CHECKING:
    from tfod.detection.counting import Count


@dataclass(frozen=True, eq=False)
class Prediction:
    """One image and its detections.

    Attributes:
      path: the file; the name of a camera, see `cameras.camera_name`.
      frame: frame number in a video, from 0, or of a camera, see `cameras.read_camera`; None for an
        image.
      pixels: uint8 `[H, W, 3]` RGB, upright.
      detections: those above the threshold.
      from_camera: the image is of a camera.
      seconds: time of the frame since the first one; None for an image.
      counts: the objects counted so far, see `counting.count_objects`.
    """

    path: Path
    frame: int | None
    pixels: np.ndarray
    detections: Detections
    from_camera: bool = False
    seconds: float | None = None
    counts: tuple[Count, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def used_threshold(detector: Detector, threshold: float | None) -> float:
    """Returns `threshold`, or that of the detector, or `DEFAULT_THRESHOLD`."""
    if threshold is not None:
        return threshold
    return DEFAULT_THRESHOLD if detector.threshold is None else detector.threshold


def predict_media(
    detector: Detector,
    sources: Iterable[MediaFile],
    threshold: float | None = None,
    on_fault: Callable[[UserError], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    cluster: Cluster | None = None,
    progress: Progress = silent,
) -> Iterator[Prediction]:
    """Detects objects in images, videos and cameras. Only a few images are in memory at once.

    Args:
      threshold: minimum score to report, in [0, 1]; None for that of the detector, or
        `DEFAULT_THRESHOLD`.
      on_fault: called with the error of an image that cannot be decoded, which is then skipped,
        of a damaged video, and of a camera that stops; None to raise the error.
      on_note: called with a sentence, in another thread, when a network camera is lost.
      cluster: detects on the workers of a Beam pipeline, which gives the same predictions. All
        sources must be images, and the detector must come from `Detector.load`.
      progress: of the cluster, see `beam_map`.

    Raises:
      UserError: a camera cannot be opened; the pipeline cannot run, see `beam_map`; or there is no
        `on_fault`, and an image cannot be decoded, a video is damaged or a camera stops.
    """
    threshold = used_threshold(detector, threshold)
    local = detector.for_threads()

    def predict(item: tuple[MediaFile, _Frame | None]) -> Prediction | UserError:
        source, frame = item
        try:
            pixels = load_rgb(source.path) if frame is None else frame.pixels
        except UserError as error:
            return error
        detections = local.predict(pixels).above(threshold)
        if frame is None:
            return Prediction(source.path, None, pixels, detections)
        is_live = source.camera is not None
        return Prediction(source.path, frame.number, pixels, detections, is_live, frame.seconds)

    if cluster is None:
        results = threaded_map(predict, _items(sources, on_fault, on_note))
    else:
        images = [source.path for source in sources]
        detected = detect_in_images(detector, images, threshold, cluster, progress)
        results = threaded_map(_with_pixels, zip(images, detected, strict=True))
    for result in results:
        if isinstance(result, Prediction):
            yield result
        elif on_fault is None:
            raise result
        else:
            on_fault(result)


def _with_pixels(item: tuple[Path, Detections | None]) -> Prediction | UserError:
    """Reads an image again: writers need its pixels, and decoding takes less than detecting."""
    path, detections = item
    try:
        pixels = load_rgb(path)
    except UserError as error:
        return error
    if detections is None:
        remedy = "Give all workers access to it under the same path"
        return UserError(path, "cannot be read by a worker", remedy)
    return Prediction(path, None, pixels, detections)


def predict_records(
    detector: Detector,
    shards: Sequence[Path],
    cluster: Cluster | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[Annotation, Detections]]:
    """Yields ground truth and all detections of each record of a data set, in order.

    Args:
      cluster: detects on the workers of a Beam pipeline, which gives the same detections. The
        detector must come from `Detector.load`.
      progress: of the cluster, see `beam_map`.

    Raises:
      UserError: a shard is damaged; or the pipeline cannot run, see `beam_map`.
    """
    if cluster is not None:
        return detect_in_records(detector, shards, cluster, progress)
    detector = detector.for_threads()

    def predict(record: Record) -> tuple[Annotation, Detections]:
        return record.annotation, detector.predict(detector.decode(record.image.data))

    return threaded_map(predict, read_records(shards))


@dataclass(frozen=True, eq=False)
class _Frame:
    number: int
    seconds: float
    pixels: np.ndarray


def _items(
    sources: Iterable[MediaFile],
    on_fault: Callable[[UserError], None] | None,
    on_note: Callable[[str], None] | None,
) -> Iterator[tuple[MediaFile, _Frame | None]]:
    """Yields each frame of videos and cameras, and None for an image, which is not read yet."""
    for source in sources:
        if source.camera is not None:
            frames = read_camera(source.camera, on_fault, on_note)
        elif source.is_video:
            frames = read_frames(source.path, on_fault)
        else:
            yield source, None
            continue
        for frame in frames:
            yield source, _Frame(frame.number, frame.seconds, frame.rgb())
