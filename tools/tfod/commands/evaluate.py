"""`tfod evaluate`: how good a model is on a split."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import FOLDER, INPUT_SIZE, OVERWRITE
from tfod.commands.tables import part, share, table
from tfod.errors import UserError
from tfod.progress import progress_bars, tracked


@click.command()
@click.option("--run", type=FOLDER, help="Run folder: its best checkpoint.")
@click.option("--model", type=FOLDER, help="Export folder, or a .tflite file in one.")
@click.option(
    "--detections", type=FOLDER, help="COCO results file: what was found, on a phone or elsewhere."
)
@click.option("--data", type=FOLDER, required=True, help="Data set that convert wrote.")
@click.option("--split", default="test", show_default=True)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Score from which on a detection counts.  [default: the one with the best F1]",
)
@INPUT_SIZE
@click.option(
    "--output", type=FOLDER, help="Folder for report.html, galleries and detections.json."
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
    output: Path | None,
    overwrite: bool,
) -> None:
    """Measure how good a model is on a split, and show what it gets wrong.

    The same for a run, a SavedModel, a .tflite and a file of detections. metrics.json goes beside
    the model, or with all the rest into --output.

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
    from tfod.files import refuse_existing

    given = {"--run": run, "--model": model, "--detections": detections}
    given = {option: path for option, path in given.items() if path is not None}
    if len(given) != 1:
        what = f"{' and '.join(given)} exclude each other" if given else "nothing to evaluate"
        remedy = "Give one of --run, --model and --detections"
        raise UserError("tfod evaluate", what, remedy)
    (source,) = given.values()
    if detections is not None and input_size is not None:
        raise UserError("--input-size", "has no use with --detections", "Leave it out")
    dataset = load_dataset(data)
    pictures = dataset.split(split)
    if output is not None:
        refuse_existing(output, overwrite)
    truths, found = [], []
    if detections is not None:
        truths = [record.annotation for record in read_records(pictures.shards)]
        found = read_results(detections, truths, dataset.classes)
    else:
        predictions = predict_records(Detector.load(source, input_size), pictures.shards)
        with progress_bars() as progress:
            for truth, detected in tracked(predictions, progress, "images", pictures.images):
                truths.append(truth)
                found.append(detected)
    metrics, matching = evaluate(truths, found, dataset.classes.values(), threshold)
    if output is not None:
        from tfod.evaluation.report import write_report  # loads Matplotlib

        write_report(output, source, dataset, split, found, metrics, matching)
        written = output / "report.html"
    else:
        folder, stem = (source, "") if source.is_dir() else (source.parent, f"{source.stem}_")
        metrics.write(written := folder / f"{stem}metrics.json")
    _print_metrics(metrics, split)
    click.echo(f"written: {written}")


def _print_metrics(metrics, split: str) -> None:
    table(["metric", split], [[name, share(v)] for name, v in metrics.coco.items()])
    columns = ("AP", "AP50", "VOC_AP50", "precision", "recall", "threshold")
    table(
        ["class", *columns[:-1], "at score"],
        [
            [name, *(share(of_class[column]) for column in columns)]
            for name, of_class in metrics.per_class.items()
        ],
    )
    click.echo(
        f"{metrics.images} pictures, {metrics.objects} objects. At score {metrics.threshold:.2f}: "
        f"{metrics.identified} identified ({part(metrics.identified, metrics.objects)}), "
        f"{metrics.missed} missed, {metrics.false} false ({part(metrics.false, metrics.objects)})"
    )
