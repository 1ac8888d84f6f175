"""Computes PASCAL VOC's average precision as the OD API does, without its time per detection."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from tfod.evaluation.coco_evaluation import IOU, table_boxes
from tfod.evaluation.coco_matching import common_keys

if TYPE_CHECKING:
    import pandas as pd

FALSE, CORRECT, IGNORED = 0, 1, 2


def voc_ap50(
    objects: pd.DataFrame, detections: pd.DataFrame, classes: Collection[str]
) -> list[float]:
    """Computes AP at IoU 0.5 per class: area under the curve, as in PASCAL VOC since 2010.

    Difficult objects and crowds do not count, and detections of them are neither correct nor false.

    Source: `object_detection.utils.per_image_evaluation`, and `metrics` for the area.

    Args:
      objects, detections: tables of `matching.objects_table` and `matching.detections_table`.

    Returns:
      One per class; -1 without objects.
    """
    from object_detection.utils.metrics import compute_average_precision, compute_precision_recall

    uncounted = (objects["difficult"] | objects["crowd"]).to_numpy(bool)
    labels = _label(objects, detections, classes)
    scores, names = detections["score"].to_numpy(float), detections["name"].to_numpy()
    aps = []
    for name in classes:
        total = int((objects["name"].to_numpy()[~uncounted] == name).sum())
        of_class = (names == name) & (labels != IGNORED)
        if not total:
            aps.append(-1.0)
        elif not of_class.any():
            aps.append(0.0)
        else:
            correct = labels[of_class] == CORRECT
            curve = compute_precision_recall(scores[of_class], correct, total)
            aps.append(float(compute_average_precision(*curve)))
    return aps


def _label(objects: pd.DataFrame, detections: pd.DataFrame, classes: Collection[str]) -> np.ndarray:
    """Returns whether each detection is `FALSE`, `CORRECT` or `IGNORED`, as those without area.

    Unlike in COCO's evaluation, a detection can only match the object with the highest IoU.
    """
    from pycocotools import mask

    truth, found = (table_boxes(table, classes) for table in (objects, detections))
    images = max(truth.images.max(initial=0), found.images.max(initial=0)) + 1
    order = np.argsort(truth.keys(images), kind="stable")
    crowd, difficult = (objects[name].to_numpy(bool)[order] for name in ("crowd", "difficult"))
    truth = truth.rows(order)
    ranked = np.lexsort((-detections["score"].to_numpy(float), found.keys(images)))
    found = found.rows(ranked)
    labels = np.where((found.xywh[:, 2:] > 0).all(axis=1), FALSE, IGNORED).astype(np.int8)
    for rows, of_image in common_keys(found.keys(images), truth.keys(images)):
        # For a crowd, this is the share of the detection that is inside.
        overlaps = mask.iou(found.xywh[rows], truth.xywh[of_image], crowd[of_image])
        is_crowd = crowd[of_image]
        in_crowd = (overlaps[:, is_crowd] >= IOU).any(axis=1)
        overlaps[:, is_crowd] = -1
        best = overlaps.argmax(axis=1)
        matches = overlaps.max(axis=1) >= IOU
        is_difficult = matches & difficult[of_image][best]
        (candidates,) = np.nonzero(matches & ~is_difficult)
        correct = candidates[np.unique(best[candidates], return_index=True)[1]]
        part = labels[rows]
        part[in_crowd | is_difficult] = IGNORED
        part[correct] = CORRECT
    in_order = np.empty_like(labels)
    in_order[ranked] = labels
    return in_order
