"""What `tfod evaluate --output` writes: numbers, detections, a page, pictures by how they went."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tfod import html_page
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.coco_results import write_results
from tfod.detection.detections import Detections
from tfod.evaluation import plots
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
from tfod.evaluation.matching import BOX, Matching
from tfod.evaluation.metrics import Metrics
from tfod.files import replacing_folder
from tfod.images import load_rgb
from tfod.model.run_folder import METRICS_NAME, RunFolder

PAGE, DETECTIONS = "report.html", "detections.json"
SHOWN = {KO: 24, SO_SO: 24, OK: 12}  # pictures of a gallery on the page; the folders have all
THUMBNAIL = 360  # pixels, the longer side
# COCO's: areas up to 32 x 32 and 96 x 96 pixels
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
TITLES = {
    KO: "Nothing right (ko)",
    SO_SO: "Something right, not all (so_so)",
    OK: "Everything found, nothing false (ok)",
}


def write_report(
    output: Path,
    source: Path,
    data: Dataset,
    split: str,
    found: Sequence[Detections],
    metrics: Metrics,
    matching: Matching,
) -> None:
    """Writes the folder; it appears when complete, and replaces one that is there.

    Args:
      source: the model, run or file of detections that was judged; a run's curves go on the page.
      found: the detections in the pictures of the split, in its order.
    """
    threshold = metrics.threshold
    ranked = {result.picture: result for result in image_results(matching, threshold)}
    places: dict[str, list[int]] = defaultdict(list)
    for picture, result in ranked.items():
        places[result.name].append(picture)
    truths, thumbnails = [], {}
    with replacing_folder(output) as folder:
        for name in RESULTS:
            (folder / name).mkdir()
        for picture, record in enumerate(read_records(data.splits[split].shards)):
            truths.append(record.annotation)
            name = ranked[picture].name
            rank = places[name].index(picture)
            stem = Path(record.annotation.source_id).stem or "picture"
            file = f"{name}/{rank + 1:04}_{stem}.jpg"
            pixels = load_rgb(record.image.data)
            drawn = Image.fromarray(draw_image_result(pixels, matching, picture, threshold))
            drawn.save(folder / file, quality=90)
            if rank < SHOWN[name]:
                drawn.thumbnail((THUMBNAIL, THUMBNAIL))
                thumbnails[picture] = (file, html_page.picture(drawn, file))
        write_results(folder / DETECTIONS, truths, found)
        metrics.write(folder / METRICS_NAME)
        parts = [
            *_summary(source, data, split, metrics),
            *_plots(matching, threshold),
            *_mistake_tables(matching, threshold),
            *_curves(source),
            *_galleries(places, ranked, thumbnails),
        ]
        html_page.write_page(folder / PAGE, f"{source.name} on {data.folder.name}", parts)


def _summary(source: Path, data: Dataset, split: str, metrics: Metrics) -> Iterator[str]:
    yield (
        f"<p>{html.escape(str(source))} on the {html.escape(split)} split of "
        f"{html.escape(str(data.folder))}: {metrics.images} pictures with {metrics.objects} "
        f"objects. Detections with a score of at least {metrics.threshold:.2f} are taken; one is "
        "right if its class is and its box overlaps the object's by an IoU of at least 0.5.</p>"
    )
    headline = (
        (_share(metrics.identified, metrics.objects), f"{metrics.identified} objects identified"),
        (_share(metrics.missed, metrics.objects), f"{metrics.missed} missed"),
        (_share(metrics.false, metrics.objects), f"{metrics.false} falsely detected"),
        (_number(metrics.coco["AP"]), "AP (COCO)"),
        (_number(metrics.coco["AP50"]), "AP50 (COCO)"),
    )
    blocks = "".join(f"<div><b>{value}</b>{text}</div>" for value, text in headline)
    yield f'<div class="figures">{blocks}</div>'
    yield "<h2>Classes</h2>"
    yield html_page.table(pd.DataFrame(metrics.per_class).T.astype(float))
    yield (
        "<p>AP is the mean over IoU 0.50 to 0.95. Precision, recall and F1 are those of each "
        "class's own best threshold.</p>"
    )
    yield "<h2>COCO's twelve numbers</h2>"
    for kind in ("AP", "AR"):
        of_kind = {name: value for name, value in metrics.coco.items() if name.startswith(kind)}
        yield html_page.table(pd.DataFrame([of_kind], index=[split]).astype(float))


def _plots(matching: Matching, threshold: float) -> Iterator[str]:
    counts = mistakes(matching, threshold)["kind"].value_counts().to_dict()
    figures = [
        plots.precision_recall(matching),
        plots.thresholds(matching, threshold),
        plots.mistake_bars(counts, costs(matching)),
    ]
    if len(matching.classes) <= plots.MOST_CLASSES:
        figures.append(plots.confusion(plots.confusion_table(matching, threshold)))
    yield f'<div class="plots">{"".join(map(html_page.plot, figures))}</div>'


def _mistake_tables(matching: Matching, threshold: float) -> Iterator[str]:
    yield "<h2>Mistakes</h2>"
    yield (
        "<p>After TIDE. <b>localization</b>: an object of that class, but the box is off. "
        "<b>class</b>: an object's box, but it is of another class. <b>both</b>: near an object of "
        "another class. <b>duplicate</b>: an object found already. <b>background</b>: nothing "
        "there. <b>missed</b>: an object without even one of these. What they cost is how much "
        "higher AP50 were without them.</p>"
    )
    table = mistakes(matching, threshold)
    by_class = pd.crosstab(table["name"], table["kind"])
    yield _counted(by_class, matching.classes)
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
    yield _counted(by_size, tuple(SIZES))


def _counted(counts: pd.DataFrame, rows: Sequence[str]) -> str:
    """A count of mistakes, all rows and kinds in order."""
    whole = counts.reindex(index=rows, columns=KINDS, fill_value=0)
    return html_page.table(whole.rename_axis(index=None, columns=None))


def _curves(source: Path) -> Iterator[str]:
    curves = RunFolder(source).curves
    if curves.is_file():
        yield "<h2>Training</h2>"
        yield html_page.embed(curves.read_bytes(), "png", "losses and AP over the steps")


def _galleries(
    places: dict[str, list[int]],
    ranked: dict[int, ImageResult],
    thumbnails: dict[int, tuple[str, str]],
) -> Iterator[str]:
    yield (
        "<h2>Pictures</h2><p>Corners are what was to be found: white where it was, orange where it "
        "was missed. Boxes are what was found: blue where right, yellow where false. The worst "
        "come first. A click opens the picture.</p>"
    )
    for name in (KO, SO_SO, OK):
        pictures = places[name]
        yield f"<h3>{TITLES[name]}: {len(pictures)} of {len(ranked)}</h3>"
        figures = []
        for picture in pictures[: SHOWN[name]]:
            file, image = thumbnails[picture]
            result = ranked[picture]
            caption = f"{result.identified} of {result.objects} identified, {result.false} false"
            figures.append(
                f'<figure><a href="{html.escape(file)}">{image}</a>'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        yield f'<div class="pictures">{"".join(figures)}</div>'


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
