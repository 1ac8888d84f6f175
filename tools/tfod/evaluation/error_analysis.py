"""What kinds of mistakes a detector makes, and how much AP each kind costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfod.evaluation.matching import BOX, IOU, Matching, coco_evaluation

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("localization", "class", "both", "duplicate", "background", "missed")
TOUCHES = 0.1  # IoU below which a box has nothing to do with an object


def mistakes(matching: Matching, threshold: float = 0.0) -> pd.DataFrame:
    """Every false detection and missed object, by kind, at a threshold.

    The kinds are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
    Errors" (2020), with IoU 0.5 for right and 0.1 for background:
      localization: an object of that class, but the box is off;
      class: an object's box, but of another class;
      both: near an object of another class only, and off;
      duplicate: an object that another detection is already;
      background: no object there;
      missed: an object that no detection is, nor would be but for its class or box.

    Returns:
      A row a mistake: `kind`, `picture`, `name` (of the detection; of the object where it is
      missed), `detection` and `object` (rows of the matching's tables, -1 for none; for a false
      detection the object that it should have been).
    """
    import pandas as pd

    detections = matching.detections
    detections = detections[(detections["score"] >= threshold) & ~detections["ignored"]]
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    taken = set(detections["object"])
    rows, explained = [], set()
    of_picture = dict(tuple(objects.groupby("picture")))
    for picture, here in detections[detections["object"] < 0].groupby("picture"):
        truth = of_picture.get(picture, objects[:0])
        overlaps = iou(here[BOX].to_numpy(float), truth[BOX].to_numpy(float))
        names = truth["name"].to_numpy()
        for (row, name), overlap in zip(here["name"].items(), overlaps, strict=True):
            kind, of = _kind(overlap, names == name)
            of = int(truth.index[of]) if of >= 0 else -1
            rows.append((kind, picture, name, row, of))
            if kind in ("localization", "class"):
                explained.add(of)
    for row, picture, name in objects[["picture", "name"]].itertuples():
        if row not in taken and row not in explained:
            rows.append(("missed", picture, name, -1, row))
    return pd.DataFrame(rows, columns=["kind", "picture", "name", "detection", "object"])


def _kind(overlap: np.ndarray, same: np.ndarray) -> tuple[str, int]:
    """Of a false detection's IoU with each object of its picture, and which have its class."""
    own = np.where(same, overlap, 0.0)
    other = np.where(same, 0.0, overlap)
    if not len(overlap) or overlap.max() < TOUCHES:
        return "background", -1
    if own.max() >= IOU:
        return "duplicate", int(own.argmax())
    if other.max() >= IOU:
        return "class", int(other.argmax())
    if own.max() >= TOUCHES:
        return "localization", int(own.argmax())
    return "both", int(other.argmax())


def costs(matching: Matching) -> dict[str, float]:
    """For each kind of mistake, how much higher AP50 were without it (TIDE's dAP), in [0, 1].

    A wrong class or box is set right, unless the object is found already or by a better score: then
    it is taken out, as duplicates, background and both are. Missed objects are taken from the
    ground truth. All detections count, whatever their score. The sum is not what is missing to 1:
    one mistake hides another.
    """
    found = mistakes(matching)
    before = _ap50(matching, matching.objects, matching.detections)
    after = {}
    for kind in KINDS:
        of_kind = found[found["kind"] == kind]
        objects, detections = matching.objects, matching.detections
        if kind == "missed":
            objects = objects.drop(index=of_kind["object"])
        else:
            mended = of_kind[:0]
            if kind in ("localization", "class"):
                free = of_kind[~of_kind["object"].isin(set(detections["object"]))]
                scores = detections["score"].loc[free["detection"]].to_numpy()
                best_first = free.iloc[np.argsort(-scores, kind="stable")]
                mended = best_first.drop_duplicates("object")
            detections = detections.copy()
            truth = objects.loc[mended["object"]]
            detections.loc[mended["detection"], "name"] = truth["name"].to_numpy()
            detections.loc[mended["detection"], BOX] = truth[BOX].to_numpy(float)
            detections = detections.drop(
                index=of_kind["detection"][~of_kind["detection"].isin(mended["detection"])]
            )
        after[kind] = _ap50(matching, objects, detections) - before
    return after


def _ap50(matching: Matching, objects: pd.DataFrame, detections: pd.DataFrame) -> float:
    """Mean over the classes that have objects; 0 where none has."""
    evaluation = coco_evaluation(objects, detections, matching.classes, matching.pictures, IOU)
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    known = precision[:, precision[0] >= 0]
    return float(known.mean()) if known.size else 0.0


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`[N, M]` overlaps of float `[N, 4]` with `[M, 4]` boxes: xmin, ymin, xmax, ymax, any unit."""
    from object_detection.utils import np_box_ops

    return (
        np_box_ops.iou(boxes, others)
        if len(boxes) and len(others)
        else np.zeros((len(boxes), len(others)))
    )
