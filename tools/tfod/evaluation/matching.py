"""Matches detections with ground truth objects, using pycocotools. All evaluation builds on it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.boxes import xyxy_to_xywh
from tfod.detection.detections import Detections
from tfod.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BOX = ["xmin", "ymin", "xmax", "ymax"]
IOU = 0.5  # minimum IoU of a match, where only one IoU is used


@dataclass(frozen=True, eq=False)
class Matching:
    """Ground truth and detections of a split, matched at IoU 0.5.

    A detection matches an object if both have the same class, their IoU is at least 0.5, and no
    detection with a higher score matches that object (pycocotools `COCOeval.evaluateImg`).

    Attributes:
      objects: one row per ground truth object: `image` (index in the split), `name`, `difficult`,
        `crowd`, and the box in pixels: xmin, ymin, xmax, ymax.
      detections: one row per detection: `image`, `name`, `score`, the box as in `objects`, `object`
        (the matching row of `objects`, -1 for none) and `ignored` (inside a crowd, or not
        among the 100 best of its class in the image, so neither correct nor false).
      classes: class names, in the order of the data set.
      images: number of images.
    """

    objects: pd.DataFrame
    detections: pd.DataFrame
    classes: tuple[str, ...]
    images: int


def objects_table(ground_truth: Sequence[Annotation]) -> pd.DataFrame:
    """Builds `Matching.objects` from one annotation per image."""
    import pandas as pd

    return pd.DataFrame(
        [
            (image, box.name, box.difficult, box.crowd, *box.corners)
            for image, annotation in enumerate(ground_truth)
            for box in annotation.objects
        ],
        columns=["image", "name", "difficult", "crowd", *BOX],
    )


def detections_table(
    ground_truth: Sequence[Annotation], detections: Sequence[Detections]
) -> pd.DataFrame:
    """Builds `Matching.detections` without the columns `object` and `ignored`."""
    import pandas as pd

    rows = [
        (image, name, score, *box)
        for image, (annotation, in_image) in enumerate(zip(ground_truth, detections, strict=True))
        for name, score, box in zip(
            in_image.names,
            in_image.scores.tolist(),
            in_image.to_pixels_xyxy(annotation.width, annotation.height).tolist(),
            strict=True,
        )
    ]
    # float32, so that a threshold keeps the same detections as `Detections.above`.
    table = pd.DataFrame(rows, columns=["image", "name", "score", *BOX])
    return table.astype({"score": np.float32})


def coco_evaluation(
    objects: pd.DataFrame,
    detections: pd.DataFrame,
    classes: Collection[str],
    images: int,
    iou: float | None = None,
):
    """Returns pycocotools' `COCOeval` (IoU type `bbox`), evaluated and accumulated.

    The ids of objects and detections are their row positions in the tables, from 1.

    Args:
      images: number of images.
      iou: the only IoU to match at, for objects of all sizes; None for COCO's ten IoU thresholds
        and four area ranges.

    Raises:
      UserError: a detection has a class that is not in `classes`.
    """
    from pycocotools.cocoeval import COCOeval

    ids = {name: class_id for class_id, name in enumerate(classes, 1)}
    unknown = set(detections["name"]) - set(ids)
    if unknown:
        raise UserError(
            "model",
            f"detects classes that are not in the data set: {', '.join(sorted(unknown))}",
            "Evaluate it on a data set with the same classes",
        )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = COCOeval(_coco(objects, ids, images), _coco(detections, ids, images), "bbox")
        if iou is not None:
            evaluation.params.iouThrs = np.array([iou])
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def matching_from(
    evaluation, objects: pd.DataFrame, detections: pd.DataFrame, classes: Collection[str]
) -> Matching:
    """Extracts the matches at IoU 0.5 from the `coco_evaluation` of these tables."""
    matched_object = np.full(len(detections), -1)
    # pycocotools skips all but the 100 best detections of a class in an image.
    ignored = np.ones(len(detections), bool)
    iou_index = int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, IOU))[0])
    all_areas = evaluation.params.areaRng[0]
    for result in evaluation.evalImgs:  # one per class, area range and image
        if result is None or result["aRng"] != all_areas:
            continue
        rows = np.asarray(result["dtIds"], int) - 1
        matched_object[rows] = result["dtMatches"][iou_index].astype(int) - 1
        ignored[rows] = result["dtIgnore"][iou_index]
    matched_object[ignored] = -1
    return Matching(
        objects,
        detections.assign(object=matched_object, ignored=ignored),
        tuple(classes),
        len(evaluation.params.imgIds),
    )


def _coco(table: pd.DataFrame, ids: dict[str, int], images: int):
    """Returns a table as `pycocotools.coco.COCO`. Its `loadRes` fails on an empty list."""
    from pycocotools.coco import COCO

    boxes = np.stack(xyxy_to_xywh(*table[BOX].to_numpy(float).T), axis=1)
    crowds = table["crowd"] if "crowd" in table else [False] * len(table)
    scores = table["score"] if "score" in table else [1.0] * len(table)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": class_id, "name": name} for name, class_id in ids.items()],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": ids[name],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(crowd),
                "score": score,
            }
            for number, (image, name, crowd, score, box) in enumerate(
                zip(*(table["image"], table["name"], crowds, scores, boxes.tolist()), strict=True),
                1,
            )
        ],
    }
    coco.createIndex()
    return coco
