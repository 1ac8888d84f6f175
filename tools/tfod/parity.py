"""What a model loses on its way from checkpoint to phone, and what it gains in speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from tfod.detections import Detections
from tfod.detector import SAVED_MODEL, Detector
from tfod.error_analysis import iou
from tfod.evaluation import judge
from tfod.records import Record, read_records

PICTURES = 50
TIMED = 12  # pictures a latency is the median of; the first two warm up
WARM_UP = 2
TOLERANCE = 0.005  # of AP50
SAME_PLACE = 0.5  # IoU from which on two boxes are one object's


def measure_parity(
    checkpoint: Detector,
    exports: Sequence[Path],
    shards: Sequence[Path],
    threshold: float,
    progress: Callable[[Iterable], Iterable] = iter,
) -> pd.DataFrame:
    """Holds exported models against the checkpoint they were made of, on the same pictures.

    Args:
      checkpoint: the run's detector.
      exports: the folder that export wrote, for its SavedModel; `.tflite` files.
      shards: records with ground truth; their first 50 pictures are taken.
      threshold: score from which on the checkpoint's boxes are held against the others'.
      progress: wraps the models as they are measured.

    Returns:
      A row a model, `checkpoint` first: `model`, `MB`, `AP50` (NaN where there is no object),
      `box_difference` (mean distance of an edge from the checkpoint's box of the same class that
      overlaps most, as a share of the picture's height or width), `unlike` (share of the
      checkpoint's boxes that have no such box with IoU 0.5), and of `.tflite` files `ms_1` and
      `ms_2`: median time for a picture from pixels to boxes with 1 and 2 threads.
    """
    records = list(islice(read_records(shards), PICTURES))
    expected: list[Detections] = []
    rows = []
    for path in progress([None, *exports]):
        detector = checkpoint if path is None else Detector.load(path, threads=2)
        # A .tflite decodes as training did, too: what differs then is the network alone.
        pixels = [checkpoint.decode(record.image.data) for record in records]
        found = [detector.predict(each) for each in pixels]
        expected = expected or found
        is_lite = path is not None and path.suffix == ".tflite"
        file = path if is_lite or path is None else path / SAVED_MODEL
        latency = {
            f"ms_{threads}": _latency(path, threads, pixels) if is_lite else math.nan
            for threads in (1, 2)
        }
        ap = _ap50(records, found, checkpoint.labels)
        difference, unlike = _box_difference(expected, found, threshold)
        rows.append(
            {
                "model": "checkpoint" if path is None else file.name,
                "MB": math.nan if path is None else _bytes(file) / 1e6,
                "AP50": ap,
                "box_difference": difference,
                "unlike": unlike,
                **latency,
            }
        )
    return pd.DataFrame(rows)


def costs_accuracy(checkpoint: Detector, path: Path, shards: Sequence[Path]) -> bool:
    """Whether a model has an AP50 lower than the checkpoint's by more than 0.005.

    On the same pictures as `measure_parity`. Without an object in them it has not.
    """
    records = list(islice(read_records(shards), PICTURES))
    of_both = []
    for detector in (checkpoint, Detector.load(path)):
        found = [detector.predict(checkpoint.decode(record.image.data)) for record in records]
        of_both.append(_ap50(records, found, checkpoint.labels))
    return of_both[0] - of_both[1] > TOLERANCE


def _ap50(records: Sequence[Record], found: Sequence[Detections], labels: dict[int, str]) -> float:
    truths = [record.annotation for record in records]
    ap = judge(truths, found, labels.values())[0].coco["AP50"]
    return math.nan if ap is None else ap


def _bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file())


def _latency(path: Path, threads: int, pictures: Sequence[np.ndarray]) -> float:
    """Median milliseconds."""
    detector = Detector.load(path, threads=threads)
    seconds = []
    for pixels in pictures[:TIMED]:
        before = time.perf_counter()
        detector.predict(pixels)
        seconds.append(time.perf_counter() - before)
    return 1000 * float(np.median(seconds[WARM_UP:] or seconds))


def _box_difference(
    expected: Sequence[Detections], found: Sequence[Detections], threshold: float
) -> tuple[float, float]:
    distances, unlike = [], 0
    for theirs, ours in zip(expected, found, strict=True):
        theirs = theirs.above(threshold)
        overlaps = iou(theirs.boxes.astype(float), ours.boxes.astype(float))
        overlaps[theirs.class_ids[:, None] != ours.class_ids] = 0
        for index, box in enumerate(theirs.boxes):
            nearest = overlaps[index].argmax() if len(ours) else 0
            if len(ours) and overlaps[index, nearest] >= SAME_PLACE:
                distances.append(np.abs(box - ours.boxes[nearest]).mean())
            else:
                unlike += 1
    total = len(distances) + unlike
    return (
        float(np.mean(distances)) if distances else math.nan,
        unlike / total if total else math.nan,
    )
