"""Classifies the mistakes of a detector, and computes how much AP each kind costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfod.evaluation.coco_evaluation import BOX, IOU, coco_evaluation
from tfod.evaluation.coco_matching import common_keys
from tfod.evaluation.matching import Matching

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("localization", "class", "both", "duplicate", "background", "missed")
BACKGROUND_IOU = 0.1  # below this IoU with every object, a detection is background


def mistakes(matching: Matching, threshold: float = 0.0) -> pd.DataFrame:
    """Lists every false detection and missed object at a threshold, with its kind.

    The kinds are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
    Errors" (2020), with a foreground IoU of 0.5 and a background IoU of 0.1:
      localization: right class, but the IoU with the object is too low;
      class: the IoU is high enough, but the object has another class;
      both: the IoU is too low, and the object has another class;
      duplicate: another detection matches the object already;
      background: no object there;
      missed: an object without a matching detection, and without a localization or class mistake.

    Returns:
      One row per mistake: `kind`, `image`, `name` (class of the detection; of the object if it is
      missed), `detection` and `object` (row labels in the tables of the matching, -1 for none; for
      a false detection `object` is the one that it was compared with).
    """
    import pandas as pd

    detections = matching.detections
    counts = (detections["score"] >= threshold) & ~detections["ignored"]
    false = detections[counts & (detections["object"] < 0)]
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    labels, object_images = objects.index.to_numpy(), objects["image"].to_numpy(int)
    boxes, object_boxes = (table[BOX].to_numpy(float) for table in (false, objects))
    names, object_names = (table["name"].to_numpy() for table in (false, objects))
    kinds = np.full(len(false), "background", object)
    targets = np.full(len(false), -1)
    # Both tables are in the order of the images.
    for rows, of_image in common_keys(false["image"].to_numpy(int), object_images):
        overlaps = iou(boxes[rows], object_boxes[of_image])
        for row, overlap in enumerate(overlaps, rows.start):
            kinds[row], position = _classify(overlap, object_names[of_image] == names[row])
            if position >= 0:
                targets[row] = labels[of_image][position]
    explained = targets[np.isin(kinds, ("localization", "class"))]
    missed = ~np.isin(labels, [*detections["object"][counts], *explained])
    return pd.DataFrame(
        {
            "kind": [*kinds, *["missed"] * missed.sum()],
            "image": np.concatenate([false["image"].to_numpy(int), object_images[missed]]),
            "name": np.concatenate([names, object_names[missed]]),
            "detection": np.concatenate([false.index.to_numpy(int), np.full(missed.sum(), -1)]),
            "object": np.concatenate([targets, labels[missed]]),
        }
    )


def _classify(overlap: np.ndarray, same_class: np.ndarray) -> tuple[str, int]:
    """Returns the kind of a false detection, and the position of the object it refers to.

    Args:
      overlap: float `[N]`, its IoU with each object of the image.
      same_class: bool `[N]`, which of these objects have its class.
    """
    own = np.where(same_class, overlap, 0.0)
    other = np.where(same_class, 0.0, overlap)
    if not len(overlap) or overlap.max() < BACKGROUND_IOU:
        return "background", -1
    if own.max() >= IOU:
        return "duplicate", int(own.argmax())
    if other.max() >= IOU:
        return "class", int(other.argmax())
    if own.max() >= BACKGROUND_IOU:
        return "localization", int(own.argmax())
    return "both", int(other.argmax())


def costs(matching: Matching) -> dict[str, float]:
    """Computes how much AP50 would rise without each kind of mistake (TIDE's dAP), in [0, 1].

    Localization and class mistakes get the box or class of their object. If that object already has
    a match, or a fixed detection with a higher score, the detection is removed. Detections of the
    kinds `duplicate`, `background` and `both` are removed. Missed objects are removed from the
    ground truth. All detections count, whatever their score. The costs do not add up to 1 - AP50,
    because one mistake can hide another.
    """
    table = mistakes(matching)
    baseline = _ap50(matching, matching.objects, matching.detections)
    result = {}
    for kind in KINDS:
        selected = table[table["kind"] == kind]
        objects, detections = matching.objects, matching.detections
        if kind == "missed":
            objects = objects.drop(index=selected["object"])
        else:
            fixed = selected[:0]
            if kind in ("localization", "class"):
                unmatched = selected[~selected["object"].isin(set(detections["object"]))]
                scores = detections["score"].loc[unmatched["detection"]].to_numpy()
                best_first = unmatched.iloc[np.argsort(-scores, kind="stable")]
                fixed = best_first.drop_duplicates("object")
            detections = detections.copy()
            targets = objects.loc[fixed["object"]]
            detections.loc[fixed["detection"], "name"] = targets["name"].to_numpy()
            detections.loc[fixed["detection"], BOX] = targets[BOX].to_numpy(float)
            detections = detections.drop(
                index=selected["detection"][~selected["detection"].isin(fixed["detection"])]
            )
        result[kind] = _ap50(matching, objects, detections) - baseline
    return result


def _ap50(matching: Matching, objects: pd.DataFrame, detections: pd.DataFrame) -> float:
    """Returns the mean over the classes that have objects; 0 if none has."""
    evaluation = coco_evaluation(objects, detections, matching.classes, IOU)
    precision = evaluation.precision[0, :, :, 0, -1]
    with_objects = precision[:, precision[0] >= 0]
    return float(with_objects.mean()) if with_objects.size else 0.0


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns `[N, M]` IoUs of float `[N, 4]` and `[M, 4]` boxes: xmin, ymin, xmax, ymax."""
    from object_detection.utils import np_box_ops

    return (
        np_box_ops.iou(boxes, others)
        if len(boxes) and len(others)
        else np.zeros((len(boxes), len(others)))
    )
