"""Runs a detector on the workers of an Apache Beam pipeline, see `tfod.beam`.

A worker loads the detector once, from its files. The detections are those of the local detector.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfod.annotation import Annotation
from tfod.beam import Cluster, Stamp, beam_map, stamp
from tfod.dataset.records import read_example
from tfod.dataset.tfrecord import read_record, record_places
from tfod.detection.detections import Detections
from tfod.detection.detector import Detector, DetectorSource
from tfod.errors import UserError
from tfod.images import load_rgb
from tfod.progress import Progress
from tfod.tiles import Tiles

Place = tuple[Path, int, int]  # of a record: file, offset and length in bytes


@dataclass(frozen=True)
class _DetectorFiles:
    """What a worker needs to load the detector. It does not contain the network.

    Attributes:
      source: where it is loaded from.
      tiles: how it cuts images; None for whole images.
      stamps: of its files: a worker does not use an earlier network from the same files.
    """

    source: DetectorSource
    tiles: Tiles | None
    stamps: tuple[Stamp, ...]


def detect_in_records(
    detector: Detector, shards: Sequence[Path], cluster: Cluster, progress: Progress
) -> Iterator[tuple[Annotation, Detections]]:
    """Yields ground truth and all detections of each record of a data set, in order.

    Args:
      detector: loaded from files that all workers can read.
      progress: see `beam_map`.

    Raises:
      UserError: a shard is damaged, or the pipeline cannot run, see `beam_map`.
    """
    places = [
        (shard, offset, length) for shard in shards for offset, length in record_places(shard)
    ]
    function = functools.partial(_detect_in_record, _files(detector))
    return beam_map(function, places, cluster, files=shards, progress=progress)


def detect_in_images(
    detector: Detector,
    images: Sequence[Path],
    threshold: float,
    cluster: Cluster,
    progress: Progress,
) -> Iterator[Detections | None]:
    """Yields the detections in each image file, in order; None if a worker cannot decode it.

    Args:
      detector: loaded from files that all workers can read.
      threshold: minimum score, in [0, 1].
      progress: see `beam_map`.

    Raises:
      UserError: the pipeline cannot run, see `beam_map`.
    """
    function = functools.partial(_detect_in_image, _files(detector), threshold)
    return beam_map(function, images, cluster, files=images, progress=progress)


def _files(detector: Detector) -> _DetectorFiles:
    if detector.source is None:
        raise ValueError("the detector was not loaded by `Detector.load`")
    stamps = tuple(stamp(file) for file in detector.source.files())
    return _DetectorFiles(detector.source, detector.tiles, stamps)


def _detect_in_record(files: _DetectorFiles, place: Place) -> tuple[Annotation, Detections]:
    detector = _detector(files)
    record = read_example(read_record(*place), place[0])
    return record.annotation, detector.predict(detector.decode(record.image.data))


def _detect_in_image(files: _DetectorFiles, threshold: float, image: Path) -> Detections | None:
    detector = _detector(files)
    try:
        pixels = load_rgb(image)
    except UserError:
        return None
    return detector.predict(pixels).above(threshold)


# State of a worker process, whose threads may all start at the same time.
_loading = threading.Lock()


def _detector(files: _DetectorFiles) -> Detector:
    with _loading:
        return _load(files)


@functools.lru_cache(maxsize=1)
def _load(files: _DetectorFiles) -> Detector:
    return replace(files.source.load(), tiles=files.tiles).for_threads()
