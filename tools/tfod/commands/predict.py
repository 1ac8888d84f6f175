"""`tfod predict`: detects objects in images, videos and cameras."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfod import interruption
from tfod.commands.options import (
    OVERWRITE,
    PATH,
    RUNNER,
    RUNNER_OPTION,
    SHIPPED_NAME,
    TEXT,
    TILES,
    find_cluster,
    find_model,
    shipped_model,
)
from tfod.commands.stored import when_stored
from tfod.commands.tables import note, say
from tfod.errors import BadFilesError, UserError
from tfod.progress import progress_bars, tracked
from tfod.tiles import Tiles

if TYPE_CHECKING:
    from tfod.beam import Cluster
    from tfod.detection.counting import Count
    from tfod.detection.media import MediaFile
    from tfod.detection.outputs import Write
    from tfod.detection.prediction import Prediction


@click.command()
@click.option(
    "--model",
    type=PATH,
    help="Export folder, .tflite or .onnx file, run folder, or a NAME of `tfod zoo`.  "
    f"[default: {SHIPPED_NAME}]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Minimum score of a detection to report.  [default: the model's, which was best on val]",
)
@TILES
@click.option(
    "--track", is_flag=True, help="Give each object a number that it keeps through a video."
)
@click.option(
    "--smooth",
    is_flag=True,
    help="Average the boxes of a tracked object over five frames, so that they tremble less.",
)
@click.option(
    "--count-line",
    multiple=True,
    metavar="X1,Y1,X2,Y2",
    help="Track objects, and count those that cross this line: in is from its right to its left, "
    "as seen from its first end. In pixels; can be repeated.",
)
@click.option(
    "--count-zone",
    multiple=True,
    metavar="X1,Y1,X2,Y2,X3,Y3...",
    help="Track objects, and count those inside this polygon. In pixels; can be repeated.",
)
@RUNNER
@RUNNER_OPTION
@click.option("--output", type=PATH, help="Folder for images and videos with boxes.")
@click.option("--json", "json_file", type=PATH, help="JSON file in COCO's results format.")
@click.option(
    "--csv", "csv_file", type=PATH, help="CSV file, one row per detection, boxes in pixels."
)
@click.option("--voc", type=PATH, help="Folder for PASCAL VOC XML, to correct with `tfod label`.")
@click.option("--save-crops", type=PATH, help="Folder for a cropped image of each object.")
@OVERWRITE
@click.argument("inputs", nargs=-1, required=True, type=TEXT, metavar="IMAGE|DIR|VIDEO|CAMERA...")
def predict(
    model: Path | None,
    threshold: float | None,
    tiles: int | None,
    track: bool,
    smooth: bool,
    count_line: tuple[str, ...],
    count_zone: tuple[str, ...],
    runner: str | None,
    runner_options: tuple[str, ...],
    output: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    voc: Path | None,
    save_crops: Path | None,
    overwrite: bool,
    inputs: tuple[str, ...],
) -> None:
    """Detect objects in images and videos, and print them. --output also draws them.

    0 is the first camera, 1 the second; rtsp://USER:PASSWORD@HOST/PATH is a network camera.
    Ctrl-C ends them, and completes the outputs.

    \b
    Example:
      tfod predict --model exported_models/signs street.jpg --output predictions
      tfod predict --model exported_models/signs street.mp4 --count-line 0,400,1280,400
    """
    from tfod.detection import outputs
    from tfod.detection.counting import count_objects, parse_places
    from tfod.detection.detector import Detector
    from tfod.detection.media import find_media
    from tfod.detection.prediction import predict_media, used_threshold
    from tfod.detection.tracking import LOWEST, track_objects
    from tfod.files import check_outputs

    model = model or shipped_model()
    sources = find_media(inputs)
    named = {
        "--output": output,
        "--json": json_file,
        "--csv": csv_file,
        "--voc": voc,
        "--save-crops": save_crops,
    }
    check_outputs(named, [model, *map(Path, inputs)], [source.path for source in sources])
    model = find_model(model)
    places = parse_places(count_line, count_zone)
    track = track or bool(places)
    if smooth and not track:
        raise UserError("--smooth", "is for tracked objects", "Add --track")
    written = [path for path in named.values() if path is not None]
    cluster = find_cluster(runner, runner_options, written[0] if written else None)
    _check_sources(sources, cluster)
    opened: list[contextlib.AbstractContextManager[Write]] = [
        *([outputs.drawn_images(output, overwrite)] if output else []),
        *([outputs.coco_results(json_file)] if json_file else []),
        *([outputs.csv_table(csv_file, track, places)] if csv_file else []),
        *([outputs.voc_folder(voc, overwrite)] if voc else []),
        *([outputs.crops(save_crops, overwrite)] if save_crops else []),
        *([_counts()] if places else []),
    ]
    faults: list[UserError] = []
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer) for writer in opened]
        started = time.perf_counter()
        detector = Detector.load(model)
        if tiles is not None:
            detector = replace(detector, tiles=Tiles(tiles))
        loaded = time.perf_counter()
        threshold = used_threshold(detector, threshold)
        lowest = LOWEST * threshold if track else threshold
        progress = stack.enter_context(progress_bars())
        predictions = predict_media(
            detector, sources, lowest, faults.append, note, cluster, progress
        )
        if track:
            predictions = track_objects(predictions, threshold, smooth)
        if places:
            predictions = count_objects(predictions, places)
        has_camera = any(source.camera is not None for source in sources)
        total = None if has_camera else sum(source.frames for source in sources)
        count = 0
        with _ended_by_ctrl_c() if has_camera else contextlib.nullcontext():
            for prediction in tracked(predictions, progress, "images", total):
                with interruption.complete():
                    for write in writers:
                        write(prediction)
                say(_line(prediction))
                count += 1
        seconds = time.perf_counter() - loaded
    _print_times(loaded - started, seconds, count)
    for path in written:
        when_stored(say, f"written: {path}")
    if faults:
        raise BadFilesError("images", faults, "Fix them; all other images were processed")


def _check_sources(sources: Sequence[MediaFile], cluster: Cluster | None) -> None:
    """Refuses videos and cameras on a cluster: their images come one after another."""
    for source in sources:
        if cluster is not None and (source.is_video or source.camera is not None):
            what = "is a video or a camera; --runner distributes only images"
            raise UserError(source.path, what, "Give only images, or remove --runner")


def _print_times(loading: float, seconds: float, count: int) -> None:
    if count:
        click.echo(
            f"model loaded in {loading:.1f} s; {count} images in {seconds:.1f} s, "
            f"{1000 * seconds / count:.0f} ms each with reading and writing",
            err=True,
        )


@contextlib.contextmanager
def _counts() -> Iterator[Write]:
    """Prints the counts of each video at the end."""
    last: dict[Path, tuple[Count, ...]] = {}

    def write(prediction: Prediction) -> None:
        last[prediction.path] = prediction.counts

    yield write
    for path, counts in last.items():
        for count in counts:
            say(f"{path}: {count}")


@contextlib.contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends this block like the end of a video."""
    with interruption.cleanup(), contextlib.suppress(KeyboardInterrupt):
        yield


def _line(prediction: Prediction) -> str:
    text = ", ".join(prediction.detections.titles())
    frame = "" if prediction.frame is None else f" frame {prediction.frame}"
    return f"{prediction.path}{frame}: {text or 'nothing detected'}"
