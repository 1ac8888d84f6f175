"""Computes COCO's precision and recall, for any number of images.

pycocotools keeps a Python object for each box, and one for each image, class and area range, and
matches them in Python. Here `coco_matching` matches at all IoU thresholds and area ranges at once,
and of its results only the bits remain that precision and recall follow from: evaluating 50,000
images with 100 detections each takes 1.5 GB. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfod.boxes import xyxy_to_xywh
from tfod.errors import UserError
from tfod.evaluation.coco_matching import Boxes, Matches, match

if TYPE_CHECKING:
    import pandas as pd

BOX = ["xmin", "ymin", "xmax", "ymax"]
IOU = 0.5  # minimum IoU of a match, where only one IoU is used
# In the order of pycocotools' COCOeval.stats.
COCO_NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class CocoEvaluation:
    """What `COCOeval.accumulate` computes, and the matches at IoU 0.5.

    Attributes:
      precision: float64 `[IoU, recall, class, area range, detections per image]`; -1 where the
        class has no object of this size.
      recall: float64 `[IoU, class, area range, detections per image]`, likewise.
      matched_object: int64 `[D]`: for each row of the detections, the position of the matching
        object in the table of objects; -1 for none.
      ignored: bool `[D]`: inside a crowd, or not among the 100 best of its class in the image.
    """

    precision: np.ndarray
    recall: np.ndarray
    matched_object: np.ndarray
    ignored: np.ndarray

    def metrics(self) -> dict[str, float | None]:
        """Returns the twelve metrics of `COCOeval.summarize` by name; None without objects.

        Needs the evaluation at all IoUs and area ranges.
        """
        ap, ar = self.precision[..., -1], self.recall
        values = [
            *(ap[..., 0], ap[0, ..., 0], ap[5, ..., 0]),
            *(ap[..., area] for area in (1, 2, 3)),
            *(ar[..., 0, most] for most in range(3)),
            *(ar[..., area, -1] for area in (1, 2, 3)),
        ]
        return dict(zip(COCO_NAMES, map(mean_of_known, values), strict=True))


def mean_of_known(values: np.ndarray) -> float | None:
    """Returns the mean of all entries that are not -1; None if all are."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def coco_evaluation(
    objects: pd.DataFrame,
    detections: pd.DataFrame,
    classes: Collection[str],
    iou: float | None = None,
) -> CocoEvaluation:
    """Evaluates tables of `matching.objects_table` and `matching.detections_table`.

    Args:
      iou: the only IoU to match at, for objects of all sizes; None for COCO's ten IoU thresholds
        and four area ranges.

    Raises:
      UserError: a detection has a class that is not in `classes`.
    """
    from pycocotools.cocoeval import Params

    unknown = set(detections["name"]) - set(classes)
    if unknown:
        raise UserError(
            "model",
            f"detects classes that are not in the data set: {', '.join(sorted(unknown))}",
            "Evaluate it on a data set with the same classes",
        )
    params = Params("bbox")
    if iou is not None:
        params.iouThrs = np.array([iou])
        params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
    truth, found = (table_boxes(table, classes) for table in (objects, detections))
    at_iou = int(np.flatnonzero(np.isclose(params.iouThrs, IOU))[0])
    crowd, scores = objects["crowd"].to_numpy(bool), detections["score"].to_numpy(float)
    matches = match(truth, crowd, found, scores, len(classes), params, at_iou)
    curves = [
        [_curves(matches, index, size, params) for size in range(len(params.areaRng))]
        for index in range(len(classes))
    ]
    precision = np.array([[curve for curve, _ in of_class] for of_class in curves])
    recall = np.array([[value for _, value in of_class] for of_class in curves])
    # [class, area, detections, IoU, recall] and [class, area, detections, IoU]
    return CocoEvaluation(
        precision.transpose(3, 4, 0, 1, 2),
        recall.transpose(3, 0, 1, 2),
        matches.matched_object,
        matches.is_ignored,
    )


def table_boxes(table: pd.DataFrame, classes: Collection[str]) -> Boxes:
    """Returns the boxes of a table of objects or detections."""
    positions = {name: index for index, name in enumerate(classes)}
    corners = table[BOX].to_numpy(float)
    return Boxes(
        table["name"].map(positions).to_numpy(int),
        table["image"].to_numpy(int),
        np.stack(xyxy_to_xywh(*corners.T), axis=1),
    )


def _curves(matches: Matches, index: int, size: int, params: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision `[detections, IoU, recall]` and recall `[detections, IoU]` of a class.

    Source: `COCOeval.accumulate`, whose order of operations gives the same floats.
    """
    thresholds, recalls = len(params.iouThrs), params.recThrs
    precision = np.full((len(params.maxDets), thresholds, len(recalls)), -1.0)
    recall = np.full((len(params.maxDets), thresholds), -1.0)
    objects = matches.objects[size, index]
    if not objects:
        return precision, recall
    rows = slice(*np.searchsorted(matches.classes, (index, index + 1)))
    matched, ignored = matches.matched[size, rows], matches.ignored[size, rows]
    order = np.argsort(-matches.scores[rows], kind="stable")
    for row, most in enumerate(params.maxDets):
        chosen = order[matches.ranks[rows][order] < most]
        for column in range(thresholds):
            counts = (ignored[chosen] >> column & 1) == 0
            is_true = (matched[chosen] >> column & 1) == 1
            true = np.cumsum(counts & is_true).astype(float)
            false = np.cumsum(counts & ~is_true).astype(float)
            found = true / objects
            exact = true / (false + true + np.spacing(1))
            highest = np.maximum.accumulate(exact[::-1])[::-1]
            places = np.searchsorted(found, recalls, side="left")
            reached = places < len(found)
            precision[row, column] = 0
            precision[row, column, reached] = highest[places[reached]]
            recall[row, column] = found[-1] if len(found) else 0
    return precision, recall
