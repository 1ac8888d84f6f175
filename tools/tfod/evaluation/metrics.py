"""Ground truth + detections -> metrics, computed by pycocotools and the OD API's VOC evaluation."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.detection.detections import Detections
from tfod.evaluation.counts import best_count, count
from tfod.evaluation.matching import (
    BOX,
    IOU,
    Matching,
    coco_evaluation,
    detections_table,
    matching_of,
    objects_table,
)
from tfod.files import replacing_file

if TYPE_CHECKING:
    import pandas as pd

# In the order of pycocotools' COCOeval.stats.
COCO_NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip

NOTHING_FOUND = 0.5  # the threshold to count at where none is best


@dataclass(frozen=True)
class Metrics:
    """How good detections of a split are.

    Attributes:
      coco: the twelve numbers by name (`COCO_NAMES`), in [0, 1]; None where the split has no
        object of that size.
      voc_ap50: mean over the classes of PASCAL VOC's AP at IoU 0.5 (area under the curve, as from
        2010 on; difficult objects left out); None without objects.
      per_class: class name to AP (mean over IoU 0.50:0.95), AP50, VOC_AP50, and at the class's own
        best threshold: threshold, precision, recall, f1. None where there is no object, or no
        detection.
      images, objects: how many were judged; crowds are no objects.
      threshold: the one with the best F1 over all classes, or the one asked for.
      identified, missed, false: objects found with the right class and IoU >= 0.5, objects not
        found, and detections that are no object, at that threshold.
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
    truths: Sequence[Annotation],
    found: Sequence[Detections],
    classes: Collection[str],
    threshold: float | None = None,
) -> tuple[Metrics, Matching]:
    """Metrics of detections, and the matches at IoU 0.5 that they are made of.

    Areas, which tell small, medium and large objects apart, are in pixels of the picture as it
    is, not as the model sees it. Classes are matched by name.

    Args:
      truths: ground truth, a picture each; `difficult` objects count like any other, as in the
        OD API's COCO evaluation. A crowd need not be found, and what is found in it is not false.
      found: detections in the same pictures, in the same order.
      classes: class names of the data set.
      threshold: to count at; None for the one with the best F1.

    Raises:
      UserError: a detection is of a class that is not among `classes`.
    """
    objects, detections = objects_table(truths), detections_table(truths, found)
    evaluation = coco_evaluation(objects, detections, classes, len(truths))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    matching = matching_of(evaluation, objects, detections, classes)
    # [IoU threshold, recall threshold, class, area range, detections a picture]; -1: no objects
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    voc = _voc_ap50(objects, detections, classes)
    best = best_count(matching) if threshold is None else count(matching, threshold)
    counted = best or count(matching, NOTHING_FOUND)
    return Metrics(
        coco=dict(zip(COCO_NAMES, map(_known, evaluation.stats), strict=True)),
        voc_ap50=_known(np.mean(present)) if (present := [ap for ap in voc if ap >= 0]) else None,
        per_class={
            name: {
                "AP": _known(precision[:, :, index].mean()),
                "AP50": _known(precision[0, :, index].mean()),
                "VOC_AP50": _known(voc[index]),
                **_best_of_class(matching, name),
            }
            for index, name in enumerate(classes)
        },
        images=len(truths),
        objects=counted.objects,
        threshold=counted.threshold,
        identified=counted.identified,
        missed=counted.missed,
        false=counted.false,
    ), matching


def _best_of_class(matching: Matching, name: str) -> dict[str, float | None]:
    best = best_count(matching, name)
    return {key: getattr(best, key, None) for key in ("threshold", "precision", "recall", "f1")}


def _known(value: float) -> float | None:
    return float(value) if value >= 0 else None


def _voc_ap50(
    objects: pd.DataFrame, detections: pd.DataFrame, classes: Collection[str]
) -> list[float]:
    """AP at IoU 0.5 of each class by the OD API's PASCAL VOC evaluation; -1 without objects."""
    from object_detection.utils.metrics import compute_average_precision, compute_precision_recall
    from object_detection.utils.per_image_evaluation import PerImageEvaluation

    ids = {name: class_id for class_id, name in enumerate(classes)}
    evaluation = PerImageEvaluation(len(ids), IOU)
    scores, right = ([[] for _ in ids] for _ in range(2))
    truths = dict(tuple(objects.groupby("picture")))
    for picture, found in detections.groupby("picture"):
        truth = truths.get(picture, objects[:0])
        of_classes = evaluation.compute_object_detection_metrics(
            *(found[BOX].to_numpy(float), found["score"].to_numpy(float)),
            *(found["name"].map(ids).to_numpy(int), truth[BOX].to_numpy(float)),
            truth["name"].map(ids).to_numpy(int),
            truth["difficult"].to_numpy(bool),
            truth["crowd"].to_numpy(bool),
        )[:2]
        for kept, of_picture in zip((scores, right), of_classes, strict=True):
            for of_class, values in zip(kept, of_picture, strict=True):
                of_class.append(values)
    counting = objects[~(objects["difficult"] | objects["crowd"]).astype(bool)]
    aps = []
    for name, class_id in ids.items():
        total = int((counting["name"] == name).sum())
        if not total:
            aps.append(-1.0)
        elif not scores[class_id]:
            aps.append(0.0)
        else:
            curve = compute_precision_recall(
                *(np.concatenate(scores[class_id]), np.concatenate(right[class_id])), total
            )
            aps.append(float(compute_average_precision(*curve)))
    return aps
