"""Writes the report of `tfod evaluate --output`: metrics, detections, page, images by result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from PIL import Image

from tfod import html_page
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.coco_results import write_results
from tfod.detection.detections import Detections
from tfod.evaluation import plots
from tfod.evaluation.coco_evaluation import BOX
from tfod.evaluation.difficulty import (
    SIZES,
    ImageQuality,
    difficulty_table,
    measure_quality,
)
from tfod.evaluation.error_analysis import KINDS, costs, mistakes
from tfod.evaluation.image_results import (
    KO,
    OK,
    RESULTS,
    SO_SO,
    ImageResult,
    draw_image_result,
    image_results,
)
from tfod.evaluation.matching import Matching
from tfod.evaluation.metrics import Metrics
from tfod.folder_kind import FolderKind
from tfod.images import load_rgb
from tfod.model.run_folder import METRICS_NAME, RunFolder
from tfod.text import percent, share

PAGE, DETECTIONS = "report.html", "detections.json"
REPORT = FolderKind("a report", (PAGE, DETECTIONS, METRICS_NAME, *RESULTS))
RESULT_IMAGES = {KO: 24, SO_SO: 24, OK: 12}  # on the page; the folders contain all images
THUMBNAIL = 360  # longer edge, pixels
TITLES = {
    KO: "Nothing correct (ko)",
    SO_SO: "Partly correct (so_so)",
    OK: "All objects identified, nothing false (ok)",
}


def write_report(
    folder: Path,
    source: Path,
    data: Dataset,
    split: str,
    detections: Sequence[Detections],
    metrics: Metrics,
    matching: Matching,
) -> None:
    """Writes the report.

    Args:
      folder: an empty folder.
      source: the evaluated model, run or detections file. The page includes a run's training
        curves.
      detections: one per image of the split, in its order.
    """
    threshold = metrics.threshold
    results = {result.image: result for result in image_results(matching, threshold)}
    ranking: dict[str, list[int]] = defaultdict(list)
    rank_of = {}  # among the images with the same result
    for image, result in results.items():
        rank_of[image] = len(ranking[result.name])
        ranking[result.name].append(image)
    ground_truth, qualities, thumbnails = [], [], {}
    for name in RESULTS:
        (folder / name).mkdir()
    for image, record in enumerate(read_records(data.splits[split].shards)):
        ground_truth.append(record.annotation)
        name = results[image].name
        rank = rank_of[image]
        stem = Path(record.annotation.source_id).stem or "image"
        file = f"{name}/{rank + 1:04}_{stem}.jpg"
        pixels = load_rgb(record.image.data)
        qualities.append(measure_quality(pixels))
        drawn = Image.fromarray(draw_image_result(pixels, matching, image, threshold))
        drawn.save(folder / file, quality=90)
        if rank < RESULT_IMAGES[name]:
            drawn.thumbnail((THUMBNAIL, THUMBNAIL))
            thumbnails[image] = (file, html_page.photo(drawn, file))
    write_results(folder / DETECTIONS, ground_truth, detections)
    metrics.write(folder / METRICS_NAME)
    parts = [
        *_summary(source, data, split, metrics),
        *_plots(matching, threshold),
        *_mistake_tables(matching, threshold),
        *_difficulty(metrics, matching, qualities),
        *_curves(source),
        *_result_sections(ranking, results, thumbnails),
    ]
    html_page.write_page(folder / PAGE, f"{source.name} on {data.folder.name}", parts)


def _summary(source: Path, data: Dataset, split: str, metrics: Metrics) -> Iterator[str]:
    yield (
        f"<p>{html_page.text(source)} on the {html_page.text(split)} split of "
        f"{html_page.text(data.folder)}: {metrics.images} images with {metrics.objects} "
        f"objects. Detections with a score of at least {metrics.threshold:.2f} count. A detection "
        "is correct if its class is right and its box has an IoU of at least 0.5 with the object's."
        "</p>"
    )
    headline = (
        (percent(metrics.identified, metrics.objects), f"{metrics.identified} objects identified"),
        (percent(metrics.missed, metrics.objects), f"{metrics.missed} missed"),
        (percent(metrics.false, metrics.objects), f"{metrics.false} false detections"),
        (share(metrics.coco["AP"]), "AP (COCO)"),
        (share(metrics.coco["AP50"]), "AP50 (COCO)"),
    )
    blocks = "".join(f"<div><b>{value}</b>{text}</div>" for value, text in headline)
    yield f'<div class="figures">{blocks}</div>'
    yield "<h2>Classes</h2>"
    yield html_page.table(pd.DataFrame(metrics.per_class).T.astype(float))
    yield (
        "<p>AP is the mean over IoU 0.50 to 0.95. Precision, recall and F1 are at the best "
        "threshold of each class.</p>"
    )
    yield "<h2>COCO metrics</h2>"
    for kind in ("AP", "AR"):
        selected = {name: value for name, value in metrics.coco.items() if name.startswith(kind)}
        yield html_page.table(pd.DataFrame([selected], index=[split]).astype(float))


def _plots(matching: Matching, threshold: float) -> Iterator[str]:
    counts = mistakes(matching, threshold)["kind"].value_counts().to_dict()
    figures = [
        plots.precision_recall(matching),
        plots.thresholds(matching, threshold),
        plots.mistake_bars(counts, costs(matching)),
    ]
    if len(matching.classes) <= plots.MAX_CLASSES:
        figures.append(plots.confusion(plots.confusion_table(matching, threshold)))
    yield f'<div class="plots">{"".join(map(html_page.plot, figures))}</div>'


def _mistake_tables(matching: Matching, threshold: float) -> Iterator[str]:
    yield "<h2>Mistakes</h2>"
    yield (
        "<p>The kinds follow TIDE. <b>localization</b>: right class, but the IoU is too low. "
        "<b>class</b>: wrong class, at a matching box. <b>both</b>: wrong class, and the IoU is "
        "too low. <b>duplicate</b>: the object has a match already. <b>background</b>: no object "
        "there. <b>missed</b>: an object without a match, and without a localization or class "
        "mistake. The cost of a kind is how much AP50 would rise without these mistakes.</p>"
    )
    table = mistakes(matching, threshold)
    by_class = pd.crosstab(table["name"], table["kind"])
    yield _count_table(by_class, matching.classes)
    boxes = pd.concat(
        [
            matching.detections.loc[table.loc[table["detection"] >= 0, "detection"], BOX],
            matching.objects.loc[table.loc[table["detection"] < 0, "object"], BOX],
        ]
    ).to_numpy(float)
    ordered = pd.concat([table[table["detection"] >= 0], table[table["detection"] < 0]])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    sizes = [
        next(name for name, (least, most) in SIZES.items() if least <= area < most)
        for area in areas
    ]
    by_size = pd.crosstab(pd.Series(sizes, dtype=str), ordered["kind"].to_numpy())
    yield _count_table(by_size, tuple(SIZES))


def _difficulty(
    metrics: Metrics, matching: Matching, qualities: Sequence[ImageQuality]
) -> Iterator[str]:
    yield "<h2>What makes images hard</h2>"
    yield (
        "<p>The images in three groups of about the same number by how many objects they contain, "
        "how bright they are (0 is black, 255 is white) and how sharp (variance of the Laplacian; "
        "blurred images have low values), and the objects by their size: small below 32 x 32 "
        "pixels, large from 96 x 96. If a group is much worse than the others, more training "
        "images like these help most.</p>"
    )
    yield html_page.table(difficulty_table(metrics, matching, qualities))


def _count_table(counts: pd.DataFrame, rows: Sequence[str]) -> str:
    """Returns mistake counts as an HTML table, with all rows and kinds in order."""
    complete = counts.reindex(index=rows, columns=KINDS, fill_value=0)
    return html_page.table(complete.rename_axis(index=None, columns=None))


def _curves(source: Path) -> Iterator[str]:
    curves = RunFolder(source).curves
    if curves.is_file():
        yield "<h2>Training</h2>"
        yield html_page.embed(curves.read_bytes(), "png", "losses and AP over the steps")


def _result_sections(
    ranking: dict[str, list[int]],
    results: dict[int, ImageResult],
    thumbnails: dict[int, tuple[str, str]],
) -> Iterator[str]:
    yield (
        "<h2>Images</h2><p>Corners are ground truth: white if identified, orange if missed. Boxes "
        "are detections: blue if correct, yellow if false. The worst images come first. Click an "
        "image to open it.</p>"
    )
    for name in (KO, SO_SO, OK):
        images = ranking[name]
        yield f"<h3>{TITLES[name]}: {len(images)} of {len(results)}</h3>"
        figures = []
        for image in images[: RESULT_IMAGES[name]]:
            file, thumbnail = thumbnails[image]
            result = results[image]
            caption = f"{result.identified} of {result.objects} identified, {result.false} false"
            figures.append(
                f'<figure><a href="{quote(file)}">{thumbnail}</a>'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        yield f'<div class="images">{"".join(figures)}</div>'
