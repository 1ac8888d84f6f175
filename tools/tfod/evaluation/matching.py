"""Which detection is which object, as pycocotools matches them: what all evaluation is made of."""

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
IOU = 0.5  # from which on a box is that object's, where one overlap is asked for


@dataclass(frozen=True, eq=False)
class Matching:
    """Ground truth and detections of a split, side by side.

    A detection is an object if its class is right, their IoU is at least 0.5, and no detection with
    a higher score is that object already (pycocotools `COCOeval.evaluateImg`).

    Attributes:
      objects: a row an object of the ground truth: `picture` (its number), `name`, `difficult`,
        `crowd`, and the box in pixels, xmin, ymin, xmax, ymax.
      detections: a row a detection: `picture`, `name`, `score`, the box likewise, `object` (the row
        in `objects` that it is, -1 for none) and `ignored` (lies in a crowd: neither right nor
        false).
      classes: names, in the order of the data set.
      pictures: how many there are.
    """

    objects: pd.DataFrame
    detections: pd.DataFrame
    classes: tuple[str, ...]
    pictures: int


def objects_table(truths: Sequence[Annotation]) -> pd.DataFrame:
    """The objects of pictures as `Matching.objects` has them."""
    import pandas as pd

    return pd.DataFrame(
        [
            (picture, box.name, box.difficult, box.crowd, *box.corners)
            for picture, truth in enumerate(truths)
            for box in truth.objects
        ],
        columns=["picture", "name", "difficult", "crowd", *BOX],
    )


def detections_table(truths: Sequence[Annotation], found: Sequence[Detections]) -> pd.DataFrame:
    """Detections in pixels, as `Matching.detections` has them, not matched yet."""
    import pandas as pd

    rows = [
        (picture, name, score, *box)
        for picture, (truth, detections) in enumerate(zip(truths, found, strict=True))
        for name, score, box in zip(
            detections.names,
            detections.scores.tolist(),
            detections.to_pixels_xyxy(truth.width, truth.height).tolist(),
            strict=True,
        )
    ]
    # In float32 a threshold cuts where `Detections.above` does.
    table = pd.DataFrame(rows, columns=["picture", "name", "score", *BOX])
    return table.astype({"score": np.float32})


def coco_evaluation(
    objects: pd.DataFrame,
    detections: pd.DataFrame,
    classes: Collection[str],
    pictures: int,
    iou: float | None = None,
):
    """pycocotools' `COCOeval` (IoU type `bbox`), evaluated and accumulated.

    Object and detection ids are their rows' places in the tables, from 1.

    Args:
      iou: the one IoU to match at, for objects of all sizes; None for COCO's ten and four.

    Raises:
      UserError: a detection is of a class that is not among `classes`.
    """
    from pycocotools.cocoeval import COCOeval

    ids = {name: class_id for class_id, name in enumerate(classes, 1)}
    unknown = set(detections["name"]) - set(ids)
    if unknown:
        raise UserError(
            "model",
            f"finds classes that the data set does not have: {', '.join(sorted(unknown))}",
            "Evaluate it on a data set with its own classes",
        )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = COCOeval(
            _coco(objects, ids, pictures), _coco(detections, ids, pictures), "bbox"
        )
        if iou is not None:
            evaluation.params.iouThrs = np.array([iou])
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def matching_of(
    evaluation, objects: pd.DataFrame, detections: pd.DataFrame, classes: Collection[str]
) -> Matching:
    """The matches at IoU 0.5 in a `coco_evaluation` of these tables."""
    object_of = np.full(len(detections), -1)
    ignored = np.zeros(len(detections), bool)
    at = int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, IOU))[0])
    everything = evaluation.params.areaRng[0]
    for judged in evaluation.evalImgs:  # one a class, range of areas and picture
        if judged is None or judged["aRng"] != everything:
            continue
        rows = np.asarray(judged["dtIds"], int) - 1
        object_of[rows] = judged["dtMatches"][at].astype(int) - 1
        ignored[rows] = judged["dtIgnore"][at]
    object_of[ignored] = -1
    return Matching(
        objects,
        detections.assign(object=object_of, ignored=ignored),
        tuple(classes),
        len(evaluation.params.imgIds),
    )


def _coco(table: pd.DataFrame, ids: dict[str, int], pictures: int):
    """A table as pycocotools holds it. Not by its `loadRes`, which fails where nothing is found."""
    from pycocotools.coco import COCO

    boxes = np.stack(xyxy_to_xywh(*table[BOX].to_numpy(float).T), axis=1)
    crowds = table["crowd"] if "crowd" in table else [False] * len(table)
    scores = table["score"] if "score" in table else [1.0] * len(table)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": picture} for picture in range(pictures)],
        "categories": [{"id": class_id, "name": name} for name, class_id in ids.items()],
        "annotations": [
            {
                "id": number,
                "image_id": picture,
                "category_id": ids[name],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(crowd),
                "score": score,
            }
            for number, (picture, name, crowd, score, box) in enumerate(
                zip(
                    *(table["picture"], table["name"], crowds, scores, boxes.tolist()), strict=True
                ),
                1,
            )
        ],
    }
    coco.createIndex()
    return coco
