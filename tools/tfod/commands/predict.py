"""`tfod predict`: detections in pictures and videos."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from tfod.commands.options import FOLDER, OVERWRITE
from tfod.errors import BadFilesError, UserError
from tfod.progress import progress_bars, tracked


@click.command()
@click.option("--model", type=FOLDER, required=True, help="Export folder, .tflite, or run folder.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.option(
    "--tiles",
    type=click.IntRange(32),
    metavar="PIXELS",
    help="Look at squares of this size one by one: small things in large pictures.",
)
@click.option("--output", type=FOLDER, help="Folder for pictures and videos with boxes.")
@click.option("--json", "json_file", type=FOLDER, help="File in COCO's results format.")
@click.option("--csv", "csv_file", type=FOLDER, help="File with a row a detection, in pixels.")
@click.option("--voc", type=FOLDER, help="Folder for PASCAL VOC XML, to correct in LabelImg.")
@click.option("--save-crops", type=FOLDER, help="Folder for each object cut out.")
@OVERWRITE
@click.argument("inputs", nargs=-1, required=True, type=FOLDER, metavar="IMAGE|DIR|VIDEO...")
def predict(
    model: Path,
    threshold: float,
    tiles: int | None,
    output: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    voc: Path | None,
    save_crops: Path | None,
    overwrite: bool,
    inputs: tuple[Path, ...],
) -> None:
    """Find objects in pictures and videos, print them, and draw them with --output.

    \b
    Example:
      tfod predict --model exported_models/signs street.jpg --output predictions
    """
    from tfod.detection import outputs
    from tfod.detection.detector import Detector
    from tfod.detection.media import find_media
    from tfod.detection.prediction import predict_media

    sources = find_media(inputs)
    detector = Detector.load(model)
    faults: list[UserError] = []
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(writer)
            for place, writer in (
                (output, output and outputs.drawn_pictures(output, overwrite)),
                (json_file, json_file and outputs.coco_results(json_file)),
                (csv_file, csv_file and outputs.csv_table(csv_file)),
                (voc, voc and outputs.voc_folder(voc, overwrite)),
                (save_crops, save_crops and outputs.crops(save_crops, overwrite)),
            )
            if place is not None
        ]
        predictions = predict_media(detector, sources, threshold, tiles, faults.append)
        total = sum(source.frames for source in sources)
        progress = stack.enter_context(progress_bars())
        for found in tracked(predictions, progress, "images", total):
            for write in writers:
                write(found)
            click.echo(_found(found))
    for place in (output, json_file, csv_file, voc, save_crops):
        if place is not None:
            click.echo(f"written: {place}")
    if faults:
        raise BadFilesError("pictures", faults, "Mend them; the others were looked at")


def _found(prediction) -> str:
    detections = prediction.detections
    text = ", ".join(
        f"{name} {score:.0%}"
        for name, score in zip(detections.names, detections.scores, strict=True)
    )
    frame = "" if prediction.frame is None else f" frame {prediction.frame}"
    return f"{prediction.path}{frame}: {text or 'nothing'}"
