"""Computes the metrics of detections: COCO's, PASCAL VOC's AP, and counts."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tfod.annotation import Annotation
from tfod.detection.detections import Detections
from tfod.evaluation.coco_evaluation import coco_evaluation
from tfod.evaluation.counts import best_count, count
from tfod.evaluation.matching import Matching, detections_table, objects_table
from tfod.evaluation.voc_evaluation import voc_ap50
from tfod.files import replacing_file
from tfod.model.detection_file import DEFAULT_THRESHOLD


@dataclass(frozen=True)
class Metrics:
    """Metrics of the detections on a split.

    Attributes:
      coco: the twelve COCO metrics by name (`COCO_NAMES`), in [0, 1]; None if the split has no
        object of that size.
      voc_ap50: mean over the classes of PASCAL VOC's AP at IoU 0.5 (area under the curve, as since
        2010; without difficult objects); None without objects.
      per_class: class name to AP (mean over IoU 0.50:0.95), AP50, VOC_AP50, and at the class's own
        best threshold: threshold, precision, recall, f1. The APs are None without objects,
        the other values if no object of the class is identified.
      images, objects: number of images and of objects, without crowds.
      threshold: the threshold with the best F1 over all classes, or the requested one; 0.5 if no
        object is identified.
      identified, missed, false: objects detected with the right class and IoU >= 0.5, objects not
        detected, and detections that match no object, at that threshold.
    """

    coco: dict[str, float | None]
    voc_ap50: float | None
    per_class: dict[str, dict[str, float | None]]
    images: int
    objects: int
    threshold: float
    identified: int
    missed: int
    false: int

    def write(self, path: Path) -> None:
        """Writes `metrics.json`.

        Raises:
          UserError: the file cannot be written.
        """
        with replacing_file(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def evaluate(
    ground_truth: Sequence[Annotation],
    detections: Sequence[Detections],
    classes: Collection[str],
    threshold: float | None = None,
) -> tuple[Metrics, Matching]:
    """Computes the metrics of detections, and their matches with the ground truth at IoU 0.5.

    Object areas (small, medium, large) are in pixels of the original image, not of the resized
    model input. Classes are matched by name.

    Args:
      ground_truth: one annotation per image. `difficult` objects count like any other, as in the
        OD API's COCO evaluation. A crowd does not count as an object, and detections in it are
        neither correct nor false.
      detections: for the same images, in the same order.
      classes: class names of the data set.
      threshold: score threshold of the counts; None for the one with the best F1.

    Raises:
      UserError: a detection has a class that is not in `classes`.
    """
    objects = objects_table(ground_truth)
    table = detections_table(ground_truth, detections)
    evaluation = coco_evaluation(objects, table, classes)
    table["object"], table["ignored"] = evaluation.matched_object, evaluation.ignored
    matching = Matching(objects, table, tuple(classes), len(ground_truth))
    # [IoU threshold, recall threshold, class, area range, detections per image]; -1: no objects
    precision = evaluation.precision[:, :, :, 0, -1]
    voc = voc_ap50(objects, table, classes)
    voc_with_objects = [ap for ap in voc if ap >= 0]
    best = best_count(matching) if threshold is None else count(matching, threshold)
    counts = best or count(matching, DEFAULT_THRESHOLD)
    return Metrics(
        coco=evaluation.metrics(),
        voc_ap50=float(np.mean(voc_with_objects)) if voc_with_objects else None,
        per_class={
            name: {
                "AP": _none_if_negative(precision[:, :, index].mean()),
                "AP50": _none_if_negative(precision[0, :, index].mean()),
                "VOC_AP50": _none_if_negative(voc[index]),
                **_best_of_class(matching, name),
            }
            for index, name in enumerate(classes)
        },
        images=len(ground_truth),
        objects=counts.objects,
        threshold=counts.threshold,
        identified=counts.identified,
        missed=counts.missed,
        false=counts.false,
    ), matching


def _best_of_class(matching: Matching, name: str) -> dict[str, float | None]:
    best = best_count(matching, name)
    return {key: getattr(best, key, None) for key in ("threshold", "precision", "recall", "f1")}


def _none_if_negative(value: float) -> float | None:
    """Converts pycocotools' -1, which means "no objects", to None."""
    return float(value) if value >= 0 else None
