"""Writes the HTML page of `tfod inspect`: tables, plots and images with their boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tfod import html_page
from tfod.detection.drawing import contact_sheet, draw_detections
from tfod.figures import label
from tfod.folder_kind import FolderKind
from tfod.image_files import IMAGE_LIST, write_image_list
from tfod.inspection.similar_pairs import SimilarImages
from tfod.inspection.statistics import Inspection, class_counts, size_table
from tfod.inspection.suspicious import SuspiciousAnnotations

PAGE = "index.html"
COUNTS_TITLE = "Objects per class"
MAX_CLASSES = 30  # per plot; more bars are not legible
MAX_LEGEND_ENTRIES = 12
NOT_COMPARED = SuspiciousAnnotations()


def _has_counts(folder: Path) -> bool:
    """Whether `write_page` wrote the page, whose name is that of many web pages."""
    return f'alt="{COUNTS_TITLE}"'.encode() in (folder / PAGE).read_bytes()


INSPECT_PAGE = FolderKind("a page of tfod inspect", (PAGE,), (IMAGE_LIST,), _has_counts)


def write_page(
    folder: Path,
    title: str,
    inspection: Inspection,
    warnings: Sequence[str],
    similar: SimilarImages,
    anchor_table: pd.DataFrame | None = None,
    augmented: Mapping[str, Sequence[np.ndarray]] = MappingProxyType({}),
    suspicious: SuspiciousAnnotations = NOT_COMPARED,
) -> None:
    """Writes the page, and `images.txt` if annotations are suspicious.

    Args:
      folder: an empty folder.
      title: the name of the data set.
      warnings: sentences, see `statistics.warnings`.
      similar: see `similar_pairs.across_splits`.
      anchor_table: see `statistics.anchor_table`; None omits the section.
      augmented: drawn images, see `training.augmented`, by the names of the images that they come
        from; if it is empty, the section is omitted.
      suspicious: see `suspicious.find_suspicious`.
    """
    parts = [
        f"<p>{len(inspection.images)} images, {len(inspection.boxes)} objects, "
        f"{len(inspection.classes)} classes.</p>",
    ]
    if warnings:
        items = "".join(f"<li>{html_page.text(warning)}</li>" for warning in warnings)
        parts.append(f"<h2>Before training</h2><ul>{items}</ul>")
    if similar.shown:
        parts += _similar_images(similar)
    if suspicious.found:
        parts += _suspicious_annotations(suspicious)
        write_image_list(folder / IMAGE_LIST, suspicious.images())
    parts += ["<h2>Classes</h2>", html_page.table(class_counts(inspection))]
    figures = (
        _plot_class_counts(inspection),
        _plot_box_sizes(inspection),
        _plot_objects_per_image(inspection),
        _plot_box_centers(inspection),
    )
    plots = "".join(map(html_page.plot, figures))
    parts.append(f'<div class="plots">{plots}</div>')
    parts += ["<h2>Sizes</h2>", html_page.table(size_table(inspection))]
    if anchor_table is not None:
        parts += ["<h2>Anchors</h2>", html_page.table(anchor_table)]
    if inspection.examples:
        images = [
            draw_detections(example.pixels, example.objects, with_scores=False)
            for example in inspection.examples
        ]
        sheet = contact_sheet(images, columns=4, tile=400)
        parts += ["<h2>Examples</h2>", html_page.photo(sheet, "images with their boxes")]
    if augmented:
        parts += _augmented_images(augmented)
    html_page.write_page(folder / PAGE, title, parts)


def _similar_images(similar: SimilarImages) -> Iterator[str]:
    yield "<h2>Similar images in different splits</h2>"
    counts = ", ".join(f"{count} of {split}" for split, count in similar.images.items() if count)
    yield (
        f"<p>Images that are similar to one of another split: {html_page.text(counts)}. The "
        "most similar pairs are shown. A detector that was trained on one of a pair finds the "
        "objects of the other too easily. To keep similar images in one split, convert again with "
        "<code>--group-by similar</code>.</p>"
    )
    figures = []
    for pair in similar.shown:
        caption = "<br>".join(
            f"{html_page.text(image.split)}: {html_page.text(image.source_id)}" for image in pair
        )
        sheet = contact_sheet([image.pixels for image in pair], columns=2, tile=200)
        photo = html_page.photo(sheet, "two similar images")
        figures.append(f"<figure>{photo}<figcaption>{caption}</figcaption></figure>")
    yield f'<div class="images">{"".join(figures)}</div>'


def _suspicious_annotations(suspicious: SuspiciousAnnotations) -> Iterator[str]:
    yield "<h2>Suspicious annotations</h2>"
    number = f"All {len(suspicious.found)}"
    if len(suspicious.found) > len(suspicious.shown):
        number = f"The first {len(suspicious.shown)} of {len(suspicious.found)}"
    yield (
        f"<p>{number}, the most likely mistakes first. The detector may be wrong, too: look at "
        "each. <code>tfod label IMAGES --next OUTPUT</code> opens these images, where OUTPUT is "
        "the folder of this page.</p>"
    )
    figures = []
    for item, image in zip(suspicious.found, suspicious.shown, strict=False):
        photo = html_page.photo(Image.fromarray(image), "an annotation and a detection")
        classes = [f"labeled {html_page.text(item.name)}"] if item.is_annotated else []
        if item.detected:
            classes.append(f"found {html_page.text(item.detected)}")
        caption = (
            f"{item.kind} ({item.suspicion:.0%}): {', '.join(classes)}<br>"
            f"{html_page.text(item.split)}: {html_page.text(item.source_id)}"
        )
        figures.append(f"<figure>{photo}<figcaption>{caption}</figcaption></figure>")
    yield f'<div class="images">{"".join(figures)}</div>'


def _augmented_images(augmented: Mapping[str, Sequence[np.ndarray]]) -> Iterator[str]:
    yield "<h2>Augmented images</h2>"
    yield (
        "<p>Training images as the detector gets them: first without augmentation, then with the "
        "random augmentation of each epoch. Boxes whose object is cropped away are gone. The size "
        "is that of the model's input.</p>"
    )
    for name, images in augmented.items():
        sheet = contact_sheet(images, columns=3, tile=320)
        photo = html_page.photo(sheet, "an image without augmentation and with it")
        yield f"<figure>{photo}<figcaption>{html_page.text(name)}</figcaption></figure>"


def _plot_class_counts(inspection: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    counts = class_counts(inspection).xs("objects", axis=1, level=1).head(MAX_CLASSES)
    left = np.zeros(len(counts))
    for split in counts:
        axes.barh(range(len(counts)), counts[split], left=left, label=label(split))
        left += counts[split].to_numpy()
    axes.set_yticks(range(len(counts)), [label(name) for name in counts.index])
    axes.invert_yaxis()
    axes.set(title=COUNTS_TITLE, xlabel="objects")
    axes.legend()
    return figure


def _plot_box_sizes(inspection: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    boxes = inspection.boxes
    for name in inspection.classes[:MAX_CLASSES]:
        of_class = boxes[boxes["class"] == name]
        width = 100 * (of_class["xmax"] - of_class["xmin"])
        height = 100 * (of_class["ymax"] - of_class["ymin"])
        axes.scatter(width, height, s=8, alpha=0.5, label=label(name))
    axes.set(
        title="Box sizes",
        xlabel="width, % of the image",
        ylabel="height, % of the image",
        xscale="log",
        yscale="log",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    if len(inspection.classes) <= MAX_LEGEND_ENTRIES:
        axes.legend(markerscale=2)
    return figure


def _plot_objects_per_image(inspection: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    counts = inspection.images["objects"].value_counts().sort_index()
    axes.bar(counts.index, counts)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.set(title="Objects per image", xlabel="objects", ylabel="images")
    return figure


def _plot_box_centers(inspection: Inspection) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    boxes = inspection.boxes
    x, y = boxes[["xmin", "xmax"]].mean(axis=1), boxes[["ymin", "ymax"]].mean(axis=1)
    *_, mesh = axes.hist2d(100 * x, 100 * y, bins=20, range=[[0, 100], [0, 100]])
    axes.invert_yaxis()
    axes.set(title="Box centers", xlabel="x, % of the width", ylabel="y, % of the height")
    figure.colorbar(mesh, label="boxes")
    return figure
