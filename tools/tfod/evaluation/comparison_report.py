"""Writes the folder of `tfod compare --output`: table, plot, and a page that shows differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tfod import figures, html_page
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.detections import detections_from_annotation
from tfod.detection.drawing import draw_detections
from tfod.evaluation.candidates import ONNX, RUN, SAVED_MODEL, TFLITE
from tfod.evaluation.coco_evaluation import COCO_NAMES
from tfod.evaluation.comparison import Compared, formatted
from tfod.evaluation.image_results import draw_image_result, image_results
from tfod.folder_kind import FolderKind
from tfod.images import load_rgb
from tfod.model.run_folder import RunFolder

TABLE, PLOT, PAGE = "comparison.csv", "comparison.png", "report.html"
COMPARISON = FolderKind("a comparison", (TABLE, PLOT, PAGE))
MARKERS = {RUN: "o", SAVED_MODEL: "s", TFLITE: "^", ONNX: "D"}
SHOWN = 12  # images on which the models differ most
THUMBNAIL = 360  # longer edge, pixels
SMOOTHED = 0.1  # of the steps of a run are averaged in a point of its training curve


def write_comparison(
    folder: Path, models: Sequence[Compared], table: pd.DataFrame, data: Dataset, split: str
) -> None:
    """Writes `comparison.csv`, `comparison.png` and `report.html`.

    Args:
      folder: an empty folder.
      models: from `comparison.compare` on this split.
      table: their `comparison.comparison_table`.
    """
    table.to_csv(folder / TABLE, index=False, float_format="%.6g")
    speed = plot_speed(table)
    (folder / PLOT).write_bytes(figures.png(speed))
    runs = {
        model.candidate.name: pd.DataFrame(RunFolder(model.candidate.path).table_rows())
        for model in models
        if model.candidate.kind == RUN
    }
    curves = {name: rows for name, rows in runs.items() if len(rows)}
    plots = [speed, *([plot_curves(curves)] if curves else [])]
    parts = [
        *_tables(table, data, split),
        f'<div class="plots">{"".join(map(html_page.plot, plots))}</div>',
        *_differences(models, data, split),
    ]
    html_page.write_page(folder / PAGE, f"Models on {data.folder.name}", parts)


def plot_speed(table: pd.DataFrame) -> Figure:
    """Plots AP over the time per image, one marker per model."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for row in table.itertuples():
        label = figures.label(f"{row.model}, {row.kind}")
        axes.plot(row.ms, row.AP, MARKERS[row.kind], markersize=10, alpha=0.7, label=label)
    axes.set(
        title="Speed and accuracy",
        xlabel="ms per image, on this machine",
        ylabel="AP",
        xlim=(0, 1.1 * table["ms"].max()),
        ylim=(0, 1.02),
    )
    axes.grid(alpha=0.3)
    # Labels next to the markers would overlap: the exports of one run have nearly the same AP.
    figure.legend(loc="outside right upper")
    return figure


def plot_curves(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """Plots the loss of training and validation, and the AP on val, of all runs.

    Args:
      runs: the rows of metrics.csv by run.
    """
    figure = Figure(figsize=(9, 8), layout="constrained")
    losses, precision = figure.subplots(2, 1, sharex=True)
    # Runs of an older version have no epochs.
    has_epochs = all("epoch" in rows and rows["epoch"].ne("").all() for rows in runs.values())
    for number, (name, texts) in enumerate(runs.items()):
        rows = texts.apply(pd.to_numeric, errors="coerce")
        x, color = "epoch" if has_epochs else "step", f"C{number % 10}"
        steps, evaluations = rows[rows["total_loss"].notna()], rows[rows["AP"].notna()]
        window = max(1, round(SMOOTHED * len(steps)))
        smooth = steps["total_loss"].rolling(window, min_periods=1).mean()
        losses.plot(steps[x], smooth, color=color, label=figures.label(name))
        losses.plot(evaluations[x], evaluations["val_total_loss"], "o:", color=color, markersize=4)
        precision.plot(evaluations[x], evaluations["AP"], "o-", color=color, markersize=4)
    losses.set(
        title="Training",
        yscale="log",
        ylabel="loss (lines: training, dots: validation)",
    )
    for set_formatter in (losses.yaxis.set_major_formatter, losses.yaxis.set_minor_formatter):
        set_formatter("{x:g}")  # not 2 x 10^0
    precision.set(xlabel="epochs" if has_epochs else "steps", ylabel="AP on val", ylim=(0, 1))
    for axes in (losses, precision):
        axes.grid(alpha=0.3)
    figure.legend(*losses.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _tables(table: pd.DataFrame, data: Dataset, split: str) -> Iterator[str]:
    objects = int(table["objects"].max())
    yield (
        f"<p>All models on the {html_page.text(split)} split of {html_page.text(data.folder)}: "
        f"{data.splits[split].images} images with {objects} objects.</p>"
    )
    yield "<h2>COCO metrics</h2>"
    for kind in ("AP", "AR"):
        yield _table(table, [name for name in COCO_NAMES if name.startswith(kind)])
    yield "<h2>Counts</h2>"
    yield (
        "<p>At the threshold of each model, which was best on val. An object is identified if a "
        "detection of its class overlaps it with an IoU of at least 0.5. Percentages are those of "
        "the objects.</p>"
    )
    yield _table(table, ["identified", "missed", "false", "threshold"])
    yield "<h2>Models</h2>"
    yield (
        "<p>Steps, epochs and minutes are those of the training. <b>ms</b> is the median time per "
        "image on this machine, one image at a time.</p>"
    )
    yield _table(table, ["input", "parameters", "MB", "steps", "epochs", "minutes", "ms"])


def _table(table: pd.DataFrame, columns: list[str]) -> str:
    index = [f"{row.model}, {row.kind}" for row in table.itertuples()]
    return html_page.table(pd.DataFrame(formatted(table, columns), index, columns))


def _differences(models: Sequence[Compared], data: Dataset, split: str) -> Iterator[str]:
    images = most_different(models)
    if not images:
        return
    yield "<h2>Images on which the models differ most</h2>"
    yield (
        "<p>First the ground truth. Then corners are ground truth: white if identified, orange if "
        "missed. Boxes are detections: blue if correct, yellow if false.</p>"
    )
    results = [
        {result.image: result for result in image_results(model.matching, model.metrics.threshold)}
        for model in models
    ]
    records = enumerate(read_records(data.splits[split].shards))
    found = {image: record for image, record in records if image in images}
    for image in images:
        record = found[image]
        pixels = load_rgb(record.image.data)
        truth = detections_from_annotation(record.annotation, data.classes)
        drawn = [draw_detections(pixels, truth, with_scores=False)]
        captions = [html_page.text(record.annotation.source_id)]
        for model, result in zip(models, results, strict=True):
            threshold = model.metrics.threshold
            drawn.append(draw_image_result(pixels, model.matching, image, threshold))
            mistakes = f"{result[image].identified} of {result[image].objects} identified, "
            captions.append(
                f"{html_page.text(f'{model.candidate.name}, {model.candidate.kind}')}: "
                f"{mistakes}{result[image].false} false"
            )
        shown = "".join(map(_figure, map(Image.fromarray, drawn), captions))
        yield f'<div class="images">{shown}</div>'


def _figure(image: Image.Image, caption: str) -> str:
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    photo = html_page.photo(image, "an image with boxes")
    return f"<figure>{photo}<figcaption>{caption}</figcaption></figure>"


def most_different(models: Sequence[Compared]) -> list[int]:
    """Returns up to `SHOWN` images whose number of mistakes differs most between the models.

    Mistakes are missed objects and false detections, at the threshold of each model.

    Returns:
      Indices of images in the split, the largest difference first.
    """
    mistakes = pd.DataFrame(
        {
            number: {
                result.image: result.objects - result.identified + result.false
                for result in image_results(model.matching, model.metrics.threshold)
            }
            for number, model in enumerate(models)
        }
    )
    difference = (mistakes.max(axis=1) - mistakes.min(axis=1)).sort_index()
    largest = difference[difference > 0].sort_values(ascending=False, kind="stable")
    return largest.index[:SHOWN].tolist()
