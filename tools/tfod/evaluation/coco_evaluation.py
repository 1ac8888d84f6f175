"""Computes COCO's precision and recall with pycocotools, for any number of images.

pycocotools keeps a Python object for each box, and one for each image, class and area range. For
50,000 images with 100 detections each, that would be more than 10 GB. Here it matches a part of the
images at a time, and of its results only the bits remain that precision and recall follow from.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfod.boxes import xyxy_to_xywh
from tfod.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BOX = ["xmin", "ymin", "xmax", "ymax"]
IOU = 0.5  # minimum IoU of a match, where only one IoU is used
PART = 500  # images that pycocotools gets at once
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
    images: int,
    iou: float | None = None,
) -> CocoEvaluation:
    """Evaluates tables of `matching.objects_table` and `matching.detections_table`.

    Args:
      images: number of images.
      iou: the only IoU to match at, for objects of all sizes; None for COCO's ten IoU thresholds
        and four area ranges.

    Raises:
      UserError: a detection has a class that is not in `classes`.
    """
    from pycocotools.cocoeval import Params

    ids = {name: class_id for class_id, name in enumerate(classes, 1)}
    unknown = set(detections["name"]) - set(ids)
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
    all_areas = params.areaRng[0]
    at_iou = int(np.flatnonzero(np.isclose(params.iouThrs, IOU))[0])
    matched_object = np.full(len(detections), -1)
    ignored = np.ones(len(detections), bool)  # pycocotools skips all but the 100 best
    results = [[_Results() for _ in params.areaRng] for _ in ids]
    for result in _matches(objects, detections, ids, images, params):
        matched = np.asarray(result["dtMatches"])
        area = params.areaRng.index(result["aRng"])
        results[result["category_id"] - 1][area].add(result)
        if result["aRng"] == all_areas:
            rows = np.asarray(result["dtIds"], int) - 1
            matched_object[rows] = matched[at_iou].astype(int) - 1
            ignored[rows] = result["dtIgnore"][at_iou]
    matched_object[ignored] = -1
    curves = [[of_area.curves(params) for of_area in of_class] for of_class in results]
    precision = np.array([[curve for curve, _ in of_class] for of_class in curves])
    recall = np.array([[value for _, value in of_class] for of_class in curves])
    # [class, area, detections, IoU, recall] and [class, area, detections, IoU]
    return CocoEvaluation(
        precision.transpose(3, 4, 0, 1, 2), recall.transpose(3, 0, 1, 2), matched_object, ignored
    )


class _Results:
    """The matches of one class in one area range, image after image."""

    def __init__(self) -> None:
        self._scores: list[np.ndarray] = []
        self._ranks: list[np.ndarray] = []  # position by score in the image
        # Bit t: matches an object, and does not count, at the IoU threshold t.
        self._matched: list[np.ndarray] = []
        self._ignored: list[np.ndarray] = []
        self._objects = 0

    def add(self, result: dict[str, Any]) -> None:
        """Adds a result of `COCOeval.evaluateImg`."""
        self._scores.append(np.array(result["dtScores"], np.float64))
        self._ranks.append(np.arange(len(result["dtScores"]), dtype=np.uint8))
        self._matched.append(_to_bits(np.asarray(result["dtMatches"]) > 0))
        self._ignored.append(_to_bits(np.asarray(result["dtIgnore"])))
        self._objects += int(np.count_nonzero(np.asarray(result["gtIgnore"]) == 0))

    def curves(self, params: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns precision `[detections, IoU, recall]` and recall `[detections, IoU]`.

        Source: `COCOeval.accumulate`, whose order of operations gives the same floats.
        """
        thresholds, recalls = len(params.iouThrs), params.recThrs
        precision = np.full((len(params.maxDets), thresholds, len(recalls)), -1.0)
        recall = np.full((len(params.maxDets), thresholds), -1.0)
        if not self._objects:
            return precision, recall
        scores, ranks, matched, ignored = map(
            np.concatenate, (self._scores, self._ranks, self._matched, self._ignored)
        )
        order = np.argsort(-scores, kind="stable")
        for row, most in enumerate(params.maxDets):
            chosen = order[ranks[order] < most]
            for column in range(thresholds):
                counts = (ignored[chosen] >> column & 1) == 0
                is_true = (matched[chosen] >> column & 1) == 1
                true = np.cumsum(counts & is_true).astype(float)
                false = np.cumsum(counts & ~is_true).astype(float)
                found = true / self._objects
                exact = true / (false + true + np.spacing(1))
                highest = np.maximum.accumulate(exact[::-1])[::-1]
                places = np.searchsorted(found, recalls, side="left")
                reached = places < len(found)
                precision[row, column] = 0
                precision[row, column, reached] = highest[places[reached]]
                recall[row, column] = found[-1] if len(found) else 0
        return precision, recall


def _to_bits(flags: np.ndarray) -> np.ndarray:
    """Packs bool `[T, D]`, with T up to 16, into uint16 `[D]`."""
    weights = 1 << np.arange(len(flags), dtype=np.uint16)
    return (flags * weights[:, None]).sum(axis=0, dtype=np.uint16)


def _matches(
    objects: pd.DataFrame,
    detections: pd.DataFrame,
    ids: dict[str, int],
    images: int,
    params: Any,
) -> Iterator[dict[str, Any]]:
    """Yields the results of `COCOeval.evaluateImg`, one per class, area range and image with boxes.

    The ids of objects and detections are their row positions in the tables, from 1.
    """
    from pycocotools.cocoeval import COCOeval

    tables = [_Table(table) for table in (objects, detections)]
    for start in range(0, images, PART):
        numbers = range(start, min(start + PART, images))
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            truth, found = (table.as_coco(ids, numbers) for table in tables)
            evaluation = COCOeval(truth, found, "bbox")
            evaluation.params.iouThrs = params.iouThrs
            evaluation.params.areaRng = params.areaRng
            evaluation.evaluate()
        yield from filter(None, evaluation.evalImgs)


class _Table:
    """A table of boxes whose rows are found by image."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        images = table["image"].to_numpy(int)
        self._order = np.argsort(images, kind="stable")
        self._images = images[self._order]

    def as_coco(self, ids: dict[str, int], images: range):
        """Returns some images as `pycocotools.coco.COCO`. Its `loadRes` fails on an empty list."""
        from pycocotools.coco import COCO

        first, end = np.searchsorted(self._images, (images.start, images.stop))
        rows = self._order[first:end]
        table = self._table.iloc[rows]
        boxes = np.stack(xyxy_to_xywh(*table[BOX].to_numpy(float).T), axis=1)
        crowds = table["crowd"] if "crowd" in table else [False] * len(table)
        scores = table["score"] if "score" in table else [1.0] * len(table)
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in images],
            "categories": [{"id": class_id, "name": name} for name, class_id in ids.items()],
            "annotations": [
                {
                    "id": row + 1,
                    "image_id": image,
                    "category_id": ids[name],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                    "score": score,
                }
                for row, image, name, crowd, score, box in zip(
                    *(rows.tolist(), table["image"].tolist(), table["name"]),
                    *(crowds, scores, boxes.tolist()),
                    strict=True,
                )
            ],
        }
        coco.createIndex()
        return coco
