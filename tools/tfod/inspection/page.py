"""The HTML page of `tfod inspect`: one file with tables, plots and drawn examples."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfod import html_page
from tfod.detection.drawing import contact_sheet, draw_detections
from tfod.inspection.statistics import Inspection, class_counts, size_table

MOST_CLASSES = 30  # in a plot; a hundred bars are not read


def write_page(
    path: Path,
    title: str,
    found: Inspection,
    warnings: Sequence[str],
    anchor_table: pd.DataFrame | None = None,
) -> None:
    """Writes the page.

    Args:
      title: of the data set.
      warnings: sentences, see `inspection.warnings`.
      anchor_table: see `inspection.anchor_table`; None leaves the chapter out.
    """
    parts = [
        f"<p>{len(found.pictures)} pictures, {len(found.boxes)} objects, "
        f"{len(found.classes)} classes.</p>",
    ]
    if warnings:
        items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
        parts.append(f"<h2>Before you train</h2><ul>{items}</ul>")
    parts += ["<h2>Classes</h2>", html_page.table(class_counts(found))]
    figures = (_objects(found), _shapes(found), _crowds(found), _places(found))
    plots = "".join(map(html_page.plot, figures))
    parts.append(f'<div class="plots">{plots}</div>')
    parts += ["<h2>Sizes</h2>", html_page.table(size_table(found))]
    if anchor_table is not None:
        parts += ["<h2>Anchors</h2>", html_page.table(anchor_table)]
    if found.examples:
        drawn = [
            draw_detections(example.pixels, example.objects, with_scores=False)
            for example in found.examples
        ]
        sheet = html_page.picture(contact_sheet(drawn, columns=4, tile=400), "boxes as drawn")
        parts += ["<h2>Samples</h2>", sheet]
    html_page.write_page(path, title, parts)


def _objects(found: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    counts = class_counts(found).xs("objects", axis=1, level=1).head(MOST_CLASSES)
    left = np.zeros(len(counts))
    for split in counts:
        axes.barh(counts.index.map(str), counts[split], left=left, label=split)
        left += counts[split].to_numpy()
    axes.invert_yaxis()
    axes.set(title="Objects of each class", xlabel="objects")
    axes.legend()
    return figure


def _shapes(found: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    boxes = found.boxes
    for name in found.classes[:MOST_CLASSES]:
        of_class = boxes[boxes["class"] == name]
        across, down = (
            100 * (of_class[high] - of_class[low])
            for high, low in (("xmax", "xmin"), ("ymax", "ymin"))
        )
        axes.scatter(across, down, s=8, alpha=0.5, label=name)
    axes.set(
        title="Box shapes",
        xlabel="width, % of the picture",
        ylabel="height, % of the picture",
        xscale="log",
        yscale="log",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    if len(found.classes) <= 12:
        axes.legend(markerscale=2)
    return figure


def _crowds(found: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    counts = found.pictures["objects"].value_counts().sort_index()
    axes.bar(counts.index, counts)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(title="Objects in a picture", xlabel="objects", ylabel="pictures")
    return figure


def _places(found: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    boxes = found.boxes
    across, down = (boxes[["xmin", "xmax"]].mean(axis=1), boxes[["ymin", "ymax"]].mean(axis=1))
    drawn = axes.hist2d(100 * across, 100 * down, bins=20, range=[[0, 100], [0, 100]])
    axes.invert_yaxis()
    axes.set(
        title="Where boxes have their centres", xlabel="% from the left", ylabel="% from the top"
    )
    figure.colorbar(drawn[3], label="boxes")
    return figure
