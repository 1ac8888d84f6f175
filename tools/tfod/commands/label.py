"""`tfod label`: draws boxes on images, in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from tfod import interruption
from tfod.commands.options import ANNOTATIONS, PATH, find_model
from tfod.commands.tables import say


@click.command()
@click.argument("images", type=PATH)
@ANNOTATIONS
@click.option(
    "--model",
    type=PATH,
    help="Suggest boxes: export folder, .tflite or .onnx file, run folder, or a NAME of "
    "`tfod zoo`.",
)
@click.option(
    "--next",
    "listed",
    type=PATH,
    help="Open only the images that `tfod next` chose, in its order: its output folder, or a text "
    "file with one image per line.",
)
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="0.0.0.0 to allow other machines, with the token in the printed URL.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True)
def label(
    images: Path,
    annotations: Path | None,
    model: Path | None,
    listed: Path | None,
    host: str,
    port: int,
) -> None:
    """Draw boxes on images, in a browser.

    Every change is saved at once as PASCAL VOC XML. With --model, images without annotation open
    with suggested boxes, to correct instead of to draw. Nothing leaves this machine.

    \b
    Example:
      tfod label photos --model exported_models/signs/model.tflite
    """
    from tfod.image_files import read_image_list
    from tfod.labeling.folder import LabelFolder
    from tfod.labeling.server import serve
    from tfod.labeling.site import LabelSite, fetch_annotorious
    from tfod.progress import progress_bars

    only = None if listed is None else read_image_list(listed)
    detector = None
    if model is not None:
        from tfod.detection.detector import Detector

        detector = Detector.load(find_model(model))
    with interruption.cleanup():
        with progress_bars("B") as progress:
            annotorious = fetch_annotorious(progress)
        with progress_bars() as progress:
            folder = LabelFolder(images, annotations, progress, only)
        site = LabelSite(folder, annotorious, detector)
        serve(site, host, port, lambda url: say(f"Open {url} (stop with Ctrl-C)"))
