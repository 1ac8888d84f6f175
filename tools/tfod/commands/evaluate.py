"""`tfod evaluate`: computes the metrics of a model on a split."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfod.commands.options import (
    INPUT_SIZE,
    OVERWRITE,
    PATH,
    RUNNER,
    RUNNER_OPTION,
    TILES,
    find_cluster,
    find_model,
)
from tfod.commands.stored import when_stored
from tfod.commands.tables import say, table
from tfod.errors import UserError
from tfod.progress import progress_bars, tracked
from tfod.text import percent, share
from tfod.tiles import Tiles

if TYPE_CHECKING:
    from tfod.evaluation.metrics import Metrics


@click.command()
@click.option("--run", type=PATH, help="Run folder; uses its best checkpoint.")
@click.option(
    "--model", type=PATH, help="Export folder, .tflite or .onnx file, or a NAME of `tfod zoo`."
)
@click.option(
    "--detections", type=PATH, help="COCO results file with detections from another program."
)
@click.option("--data", type=PATH, required=True, help="Data set written by tfod convert.")
@click.option("--split", default="test", show_default=True, help="Split to evaluate on.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Minimum score of a detection that counts.  [default: the model's, which was "
    "best on val; or the one with the best F1]",
)
@INPUT_SIZE
@TILES
@click.option(
    "--nms-iou",
    type=click.FloatRange(0, 1),
    help="IoU above which non-maximum suppression removes the box with the lower score. With "
    "--run only.  [default: that in pipeline.config]",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Score below which it removes all boxes. With --run only.  [default: that in "
    "pipeline.config]",
)
@RUNNER
@RUNNER_OPTION
@click.option(
    "--output", type=PATH, help="Folder for report.html, annotated images and detections.json."
)
@OVERWRITE
def evaluate(
    run: Path | None,
    model: Path | None,
    detections: Path | None,
    data: Path,
    split: str,
    threshold: float | None,
    input_size: int | None,
    tiles: int | None,
    nms_iou: float | None,
    min_score: float | None,
    runner: str | None,
    runner_options: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Evaluate a model on a split, and show its mistakes.

    Evaluates a run, a SavedModel, a .tflite, a .onnx or a detections file in the same way. Writes
    metrics.json into the folder of the model (NAME_metrics.json next to a single file), or a
    complete report to --output.

    \b
    Example:
      tfod evaluate --model exported_models/signs/model.tflite --data data/signs \\
        --output runs/signs_report
    """
    from tfod.dataset.manifest import load_dataset
    from tfod.dataset.records import read_records
    from tfod.detection.coco_results import read_results
    from tfod.detection.detector import Detector
    from tfod.detection.prediction import predict_records
    from tfod.evaluation.metrics import evaluate
    from tfod.files import replacing_folder

    source = _only({"--run": run, "--model": model, "--detections": detections})
    if model is not None:
        source = find_model(model)
    of_model = {
        "--input-size": input_size,
        "--tiles": tiles,
        "--nms-iou": nms_iou,
        "--min-score": min_score,
        "--runner": runner,
    }
    for option, value in of_model.items():
        if detections is not None and value is not None:
            raise UserError(option, "cannot be combined with --detections", "Remove it")
    cluster = find_cluster(runner, runner_options, output or _metrics_file(source))
    dataset = load_dataset(data)
    part = dataset.split(split)
    with contextlib.ExitStack() as stack:
        if output is not None:
            from tfod.evaluation.report import PAGE, REPORT, write_report  # loads Matplotlib

            report = replacing_folder(
                output, overwrite, check_old=REPORT.check, inputs=[source, data]
            )
            folder = stack.enter_context(report)
        if detections is not None:
            ground_truth = [record.annotation for record in read_records(part.shards)]
            detected = read_results(detections, ground_truth, dataset.classes)
        else:
            ground_truth, detected = [], []
            detector = Detector.load(source, input_size, nms_iou=nms_iou, min_score=min_score)
            if tiles is not None:
                detector = replace(detector, tiles=Tiles(tiles))
            threshold = detector.threshold if threshold is None else threshold
            with progress_bars() as progress:
                predictions = predict_records(detector, part.shards, cluster, progress)
                for annotation, in_image in tracked(predictions, progress, "images", part.images):
                    ground_truth.append(annotation)
                    detected.append(in_image)
        metrics, matching = evaluate(ground_truth, detected, dataset.classes.values(), threshold)
        if output is not None:
            write_report(folder, source, dataset, split, detected, metrics, matching)
            written = output / PAGE
        else:
            written = _metrics_file(source)
            metrics.write(written)
    _print_metrics(metrics, split)
    when_stored(say, f"written: {written}")


def _only(options: dict[str, Path | None]) -> Path:
    """Returns the only value that was given."""
    sources = {option: path for option, path in options.items() if path is not None}
    if len(sources) != 1:
        what = f"{' and '.join(sources)} cannot be combined" if sources else "nothing to evaluate"
        remedy = "Give one of --run, --model or --detections"
        raise UserError("evaluate", what, remedy)
    (source,) = sources.values()
    return source


def _metrics_file(source: Path) -> Path:
    """Returns the file for the metrics of a model: in its folder, or next to a single file."""
    if source.is_dir():
        return source / "metrics.json"
    # Beside a .tflite of the same name.
    stem = f"{source.stem}_onnx" if source.suffix == ".onnx" else source.stem
    return source.with_name(f"{stem}_metrics.json")


def _print_metrics(metrics: Metrics, split: str) -> None:
    table(["metric", split], [[name, share(value)] for name, value in metrics.coco.items()])
    columns = ("AP", "AP50", "VOC_AP50", "precision", "recall", "threshold")
    table(
        ["class", *columns],
        [
            [name, *(share(values[column]) for column in columns)]
            for name, values in metrics.per_class.items()
        ],
    )
    objects = metrics.objects
    say(
        f"{metrics.images} images, {objects} objects. At threshold {metrics.threshold:.2f}: "
        f"{metrics.identified} identified ({percent(metrics.identified, objects)}), "
        f"{metrics.missed} missed, "
        f"{metrics.false} false detections ({percent(metrics.false, objects)})"
    )
