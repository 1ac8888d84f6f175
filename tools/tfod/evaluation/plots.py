"""Plots of an evaluation: precision and recall, thresholds, confusion, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tfod.evaluation.coco_evaluation import BOX, IOU
from tfod.evaluation.counts import curve
from tfod.evaluation.matching import Matching
from tfod.figures import label

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 30  # per plot; more would not be legible
BACKGROUND = "background"


def precision_recall(matching: Matching) -> Figure:
    """Plots precision over recall, one curve per class."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(matching.classes[:MAX_CLASSES]):
        points = curve(matching, name)
        if not points.empty and points["recall"].notna().all():
            style = ("-", "--", ":", "-.")[number // 10 % 4]
            axes.plot(points["recall"], points["precision"], style, label=label(name))
    axes.set(
        title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1)
    )
    axes.grid(alpha=0.3)
    if axes.lines and len(axes.lines) <= 12:
        axes.legend(loc="lower left")
    return figure


def thresholds(matching: Matching, threshold: float) -> Figure:
    """Plots precision, recall and F1 of all classes together over the score threshold."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    points = curve(matching)
    for name, style in (("precision", "--"), ("recall", ":"), ("f1", "-")):
        axes.plot(points["threshold"], points[name], style, label=name.replace("f1", "F1"))
    axes.axvline(threshold, color="gray", linewidth=1)
    axes.set(title="By score threshold", xlabel="threshold", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure


def confusion_table(matching: Matching, threshold: float) -> pd.DataFrame:
    """Counts ground truth classes (rows) by detected class (columns), with supervision at IoU 0.5.

    The last row counts detections that match no object, the last column objects that are not
    detected. Unlike `counts.count`, this matches boxes first, whatever their class.
    """
    import pandas as pd
    import supervision as sv

    ids = {name: class_id for class_id, name in enumerate(matching.classes)}
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    detections = matching.detections[~matching.detections["ignored"]]

    def boxes(table: pd.DataFrame, image: int) -> sv.Detections:
        rows = table[table["image"] == image]
        return sv.Detections(
            xyxy=rows[BOX].to_numpy(float).reshape(-1, 4),
            class_id=rows["name"].map(ids).to_numpy(int),
            confidence=rows["score"].to_numpy(float) if "score" in rows else None,
        )

    matrix = sv.ConfusionMatrix.from_detections(
        predictions=[boxes(detections, image) for image in range(matching.images)],
        targets=[boxes(objects, image) for image in range(matching.images)],
        classes=list(matching.classes),
        conf_threshold=threshold,
        iou_threshold=IOU,
    ).matrix.astype(int)
    names = [*matching.classes, BACKGROUND]
    return pd.DataFrame(matrix, index=names, columns=names)


def confusion(table: pd.DataFrame) -> Figure:
    """Plots the confusion table as a heat map, each row normalized by its sum."""
    size = 2.5 + 0.45 * len(table)
    figure = Figure(figsize=(max(6, size), max(4.5, size * 0.8)), layout="constrained")
    axes = figure.subplots()
    counts = table.to_numpy()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(counts):
        if value:
            color = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, value, ha="center", va="center", color=color)
    labels = [label(name) for name in table.index]
    axes.set_xticks(range(len(table)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(table)), labels)
    axes.set(title="Confusion matrix", xlabel="detected class", ylabel="true class")
    return figure


def mistake_bars(counts: Mapping[str, int], costs: Mapping[str, float]) -> Figure:
    """Plots the number of mistakes of each kind, and their cost in AP50."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    kinds = list(costs)
    left.barh(kinds, [counts.get(kind, 0) for kind in kinds])
    left.set(title="Mistakes", xlabel="count at the threshold")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.invert_yaxis()
    right.barh(kinds, [100 * costs[kind] for kind in kinds], color="tab:orange")
    right.set(title="Cost", xlabel="AP50 points")
    return figure
