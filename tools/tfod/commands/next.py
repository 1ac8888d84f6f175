"""`tfod next`: chooses the images to label next."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from tfod.commands.options import ANNOTATIONS, OVERWRITE, PATH, find_model
from tfod.commands.stored import when_stored
from tfod.commands.tables import say, table
from tfod.progress import progress_bars


@click.command("next")
@click.argument("images", type=PATH)
@ANNOTATIONS
@click.option(
    "--model",
    type=PATH,
    required=True,
    help="Export folder, .tflite or .onnx file, run folder, or a NAME of `tfod zoo`.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Number of images to choose.",
)
@click.option(
    "--output", type=PATH, help="Folder for images.txt and a page that shows the images and why."
)
@OVERWRITE
def next_(
    images: Path,
    annotations: Path | None,
    model: Path,
    count: int,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Choose the images from which a detector learns most, to label them next.

    These are images without annotation on which the model is in doubt. Frames that nearly repeat
    a labeled or chosen image are left out, and classes with few labels count more. `tfod label
    --next` opens the chosen images in this order.

    \b
    Example:
      tfod next photos --model exported_models/signs/model.tflite --output runs/next
    """
    from tfod.detection.detector import Detector
    from tfod.files import replacing_folder
    from tfod.labeling.folder import LabelFolder
    from tfod.labeling.next_images import choose_images, reason

    path = find_model(model)
    with contextlib.ExitStack() as stack:
        if output is not None:
            # Loads Matplotlib.
            from tfod.labeling.next_page import NEXT_PAGE, PAGE, write_page

            folder = stack.enter_context(
                replacing_folder(
                    output,
                    overwrite,
                    check_old=NEXT_PAGE.check,
                    inputs=[images, path, *([annotations] if annotations else [])],
                )
            )
        with progress_bars() as progress:
            labels = LabelFolder(images, annotations, progress)
            chosen = choose_images(labels, Detector.load(path), count, progress)
            if output is not None:
                write_page(folder, images.resolve().name, labels, chosen, progress)
    if not chosen:
        say(f"nothing to label: all {len(labels)} images are labeled, or resemble labeled ones")
        return
    table(
        ["image", "doubt (bits)", "by class"],
        [
            [labels.names[item.number], f"{sum(item.doubt.values()):.1f}", reason(item)]
            for item in chosen
        ],
    )
    if output is not None:
        when_stored(say, f"written: {output / PAGE}")
        beside = "" if annotations is None else f" --annotations {annotations}"
        when_stored(say, f"label them: tfod label {images}{beside} --model {model} --next {output}")
