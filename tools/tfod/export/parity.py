"""What a model loses on its way from checkpoint to phone, and what it gains in speed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tfod.dataset.records import Record, read_records
from tfod.detection.detections import Detections, detections_from_outputs, detections_in
from tfod.detection.detector import Detector
from tfod.evaluation.error_analysis import iou
from tfod.evaluation.metrics import evaluate
from tfod.model.export_folder import ExportFolder
from tfod.progress import Progress, silent, tracked

if TYPE_CHECKING:
    from object_detection.protos.post_processing_pb2 import BatchNonMaxSuppression

PICTURES = 50
TIMED = 12  # pictures a latency is the median of; the first two warm up
WARM_UP = 2
TOLERANCE = 0.005  # of AP50
SAME_PLACE = 0.5  # IoU from which on two boxes are one object's


@dataclass(frozen=True)
class Reference:
    """What a checkpoint finds in some pictures, for what is made of it to be held against.

    Attributes:
      records: the pictures with their ground truth.
      pixels: uint8 `[H, W, 3]` RGB of each, decoded as in training: a `.tflite` decodes otherwise,
        and what differs then should be the network alone.
      found: the checkpoint's detections.
      found_fast: what they would be if boxes were suppressed across classes; None of a model that
        does so anyway, or was not asked.
      labels: label map, id to name.
    """

    records: Sequence[Record]
    pixels: Sequence[np.ndarray]
    found: Sequence[Detections]
    found_fast: Sequence[Detections] | None
    labels: dict[int, str]

    @classmethod
    def of(
        cls,
        checkpoint: Detector,
        shards: Sequence[Path],
        suppression: BatchNonMaxSuppression | None = None,
    ) -> Reference:
        """The checkpoint's on the first 50 pictures of these shards.

        Args:
          suppression: of an SSD config, for `found_fast`.
        """
        records = list(islice(read_records(shards), PICTURES))
        pixels = [checkpoint.decode(record.image.data) for record in records]
        found, fast, labels = [], [], checkpoint.labels
        for each in pixels:
            outputs = checkpoint.predict(each, raw=True)  # too large to keep
            found.append(detections_in(outputs, labels))
            if suppression is not None:
                fast.append(suppressed_across_classes(outputs, suppression, labels))
        return cls(records, pixels, found, fast or None, labels)

    def ap50(self, found: Sequence[Detections]) -> float:
        """Of detections in these pictures; NaN where there is no object."""
        truths = [record.annotation for record in self.records]
        ap = evaluate(truths, found, self.labels.values())[0].coco["AP50"]
        return math.nan if ap is None else ap

    def allows_fast(self) -> bool:
        """Whether suppression across classes leaves AP50 as it is, to 0.005.

        Without an object in the pictures it does.
        """
        return not self.ap50(self.found) - self.ap50(self.found_fast) > TOLERANCE


def suppressed_across_classes(
    outputs: dict[str, np.ndarray], suppression: BatchNonMaxSuppression, labels: dict[int, str]
) -> Detections:
    """What an SSD model finds where of boxes that overlap one is kept, whatever their class.

    As LiteRT's `TFLite_Detection_PostProcess` without `use_regular_nms`: an anchor counts with its
    best class only.

    Args:
      outputs: of `Detector.predict(raw=True)`.
      suppression: of the model's config.
      labels: label map, id to name.
    """
    import tensorflow as tf

    boxes = outputs["raw_detection_boxes"]
    scores = outputs["raw_detection_scores"][:, -len(labels) :]  # a background comes first, if any
    best = scores.max(axis=1)
    kept = tf.image.non_max_suppression(
        *(boxes, best, suppression.max_total_detections),
        iou_threshold=suppression.iou_threshold,
        score_threshold=suppression.score_threshold,
    ).numpy()
    classes = scores[kept].argmax(axis=1) + 1
    return detections_from_outputs(boxes[kept], best[kept], classes, labels)


def measure_parity(
    reference: Reference,
    exports: Sequence[Path],
    threshold: float,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Holds exported models against the checkpoint they were made of, on the same pictures.

    Args:
      exports: the folder that export wrote, for its SavedModel; `.tflite` files.
      threshold: score from which on the checkpoint's boxes are held against the others'.
      progress: called with the stage "compare" and models.

    Returns:
      A row a model, `checkpoint` first: `model`, `MB`, `AP50` (NaN where there is no object),
      `box_difference` (mean distance of an edge from the checkpoint's box of the same class that
      overlaps most, as a share of the picture's height or width), `unlike` (share of the
      checkpoint's boxes that have no such box with IoU 0.5), and of `.tflite` files `ms_1` and
      `ms_2`: median time for a picture from pixels to boxes with 1 and 2 threads.
    """
    rows = [_row("checkpoint", reference, reference.found, threshold)]
    for path in tracked(exports, progress, "compare", len(exports)):
        detector = Detector.load(path, threads=2)
        row = _row(path.name, reference, [*map(detector.predict, reference.pixels)], threshold)
        if path.suffix == ".tflite":
            row |= {f"ms_{threads}": _latency(path, threads, reference) for threads in (1, 2)}
            rows.append({**row, "MB": path.stat().st_size / 1e6})
        else:
            size = ExportFolder(path).saved_model_bytes()
            rows.append({**row, "model": "saved_model", "MB": size / 1e6})
    columns = ["model", "MB", "AP50", "box_difference", "unlike", "ms_1", "ms_2"]
    return pd.DataFrame(rows, columns=columns)


def _row(
    name: str, reference: Reference, found: Sequence[Detections], threshold: float
) -> dict[str, object]:
    difference, unlike = _box_difference(reference.found, found, threshold)
    return {
        "model": name,
        "AP50": reference.ap50(found),
        "box_difference": difference,
        "unlike": unlike,
    }


def _latency(path: Path, threads: int, reference: Reference) -> float:
    """Median milliseconds."""
    detector = Detector.load(path, threads=threads)
    seconds = []
    for pixels in reference.pixels[:TIMED]:
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
