"""Compares exported models with their checkpoint: accuracy, boxes, size and speed."""

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
from tfod.detection.tflite_file import read_tflite
from tfod.evaluation.error_analysis import iou
from tfod.evaluation.metrics import evaluate
from tfod.model.export_folder import ExportFolder
from tfod.progress import Progress, silent, tracked

if TYPE_CHECKING:
    from object_detection.protos.post_processing_pb2 import BatchNonMaxSuppression

IMAGES = 50
TIMED_IMAGES = 12
WARM_UP = 2  # of the timed images; not part of the median
AP50_TOLERANCE = 0.005
MATCH_IOU = 0.5  # minimum IoU of two boxes of the same object


@dataclass(frozen=True)
class Reference:
    """The detections of a checkpoint on some images, to compare its exports with.

    Attributes:
      records: the images with their ground truth.
      pixels: uint8 `[H, W, 3]` RGB per image, decoded as in training. All models get these pixels,
        so that differences come from the network and not from the image decoder.
      detections: those of the checkpoint, per image.
      detections_across_classes: the same with suppression across classes; None if not computed.
      labels: label map, id to name.
    """

    records: Sequence[Record]
    pixels: Sequence[np.ndarray]
    detections: Sequence[Detections]
    detections_across_classes: Sequence[Detections] | None
    labels: dict[int, str]

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Detector,
        shards: Sequence[Path],
        suppression: BatchNonMaxSuppression | None = None,
    ) -> Reference:
        """Runs a checkpoint on the first 50 images of these shards.

        Args:
          suppression: of an SSD config, to compute `detections_across_classes`; None to skip it.
        """
        records = list(islice(read_records(shards), IMAGES))
        pixels = [checkpoint.decode(record.image.data) for record in records]
        detections, across_classes, labels = [], [], checkpoint.labels
        for image in pixels:
            outputs = checkpoint.predict(image, raw=True)  # too large to keep for all images
            detections.append(detections_in(outputs, labels))
            if suppression is not None:
                across_classes.append(suppress_across_classes(outputs, suppression, labels))
        if suppression is None:
            return cls(records, pixels, detections, None, labels)
        return cls(records, pixels, detections, across_classes, labels)

    def ap50(self, detections: Sequence[Detections]) -> float:
        """Computes AP50 of detections on these images; NaN without objects."""
        ground_truth = [record.annotation for record in self.records]
        ap = evaluate(ground_truth, detections, self.labels.values())[0].coco["AP50"]
        return math.nan if ap is None else ap

    def allows_fast(self) -> bool:
        """Whether suppression across classes lowers AP50 by at most 0.005.

        True without objects in the images; False if it was not computed.
        """
        if self.detections_across_classes is None:
            return False
        loss = self.ap50(self.detections) - self.ap50(self.detections_across_classes)
        return not loss > AP50_TOLERANCE  # NaN is allowed


def suppress_across_classes(
    outputs: dict[str, np.ndarray], suppression: BatchNonMaxSuppression, labels: dict[int, str]
) -> Detections:
    """Applies non-maximum suppression across classes to the raw outputs of an SSD model.

    This is what LiteRT's `TFLite_Detection_PostProcess` does without `use_regular_nms`: each anchor
    counts with its best class only.

    Args:
      outputs: of `Detector.predict(raw=True)`.
      suppression: from the config of the model.
      labels: label map, id to name.
    """
    import tensorflow as tf

    boxes = outputs["raw_detection_boxes"]
    # Some models have a background class, at index 0.
    scores = outputs["raw_detection_scores"][:, -len(labels) :]
    best = scores.max(axis=1)
    kept = tf.image.non_max_suppression(
        boxes,
        best,
        suppression.max_total_detections,
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
    """Compares exported models with their checkpoint, on the same images.

    Args:
      exports: an export folder, for its SavedModel; `.tflite` and `.onnx` files.
      threshold: minimum score of the checkpoint's boxes that are compared.
      progress: called with the stage "comparing"; counts models.

    Returns:
      One row per model, `checkpoint` first: `model`; `MB`; `AP50`, NaN without objects;
      `box_error`, the mean distance of box edges from those of the checkpoint, as a fraction of
      the image's height or width; `unmatched`, the fraction of the checkpoint's boxes without a box
      of the same class at IoU >= 0.5; for files `ms_1` and `ms_2`, the median time per
      image from pixels to boxes on 1 and 2 threads. Unknown values are NaN, and so is `ms_2` of a
      file that must run on one thread.
    """
    rows = [{"model": "checkpoint", **_compare(reference.detections, reference, threshold)}]
    for path in tracked(exports, progress, "comparing", len(exports)):
        row = {"model": path.name, **measure(Detector.load(path, threads=2), reference, threshold)}
        if path.is_file():
            one_thread = path.suffix == ".tflite" and read_tflite(path).one_thread
            counts = (1,) if one_thread else (1, 2)
            for threads in counts:
                row[f"ms_{threads}"] = latency(Detector.load(path, threads=threads), reference)
            rows.append({**row, "MB": path.stat().st_size / 1e6})
        else:
            size = ExportFolder(path).saved_model_bytes()
            rows.append({**row, "model": "saved_model", "MB": size / 1e6})
    columns = ["model", "MB", "AP50", "box_error", "unmatched", "ms_1", "ms_2"]
    return pd.DataFrame(rows, columns=columns)


def measure(detector: Detector, reference: Reference, threshold: float) -> dict[str, float]:
    """Returns `AP50`, `box_error` and `unmatched` of a detector, see `measure_parity`."""
    detections = [detector.predict(pixels) for pixels in reference.pixels]
    return _compare(detections, reference, threshold)


def latency(detector: Detector, reference: Reference) -> float:
    """Returns the median time per image, in milliseconds."""
    seconds = []
    for pixels in reference.pixels[:TIMED_IMAGES]:
        started = time.perf_counter()
        detector.predict(pixels)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[WARM_UP:] or seconds))


def _compare(
    detections: Sequence[Detections], reference: Reference, threshold: float
) -> dict[str, float]:
    box_error, unmatched = _compare_boxes(reference.detections, detections, threshold)
    return {"AP50": reference.ap50(detections), "box_error": box_error, "unmatched": unmatched}


def _compare_boxes(
    expected: Sequence[Detections], actual: Sequence[Detections], threshold: float
) -> tuple[float, float]:
    """Returns the mean distance of matched edges, and the fraction of unmatched expected boxes."""
    distances, unmatched = [], 0
    for wanted, detected in zip(expected, actual, strict=True):
        wanted = wanted.above(threshold)
        overlaps = iou(wanted.boxes.astype(float), detected.boxes.astype(float))
        overlaps[wanted.class_ids[:, None] != detected.class_ids] = 0
        for index, box in enumerate(wanted.boxes):
            nearest = overlaps[index].argmax() if len(detected) else 0
            if len(detected) and overlaps[index, nearest] >= MATCH_IOU:
                distances.append(np.abs(box - detected.boxes[nearest]).mean())
            else:
                unmatched += 1
    total = len(distances) + unmatched
    return (
        float(np.mean(distances)) if distances else math.nan,
        unmatched / total if total else math.nan,
    )
