"""`tfod live`: runs a detector in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from tfod import interruption
from tfod.commands.options import OVERWRITE, PATH, SHIPPED_NAME, shipped_model
from tfod.commands.stored import when_stored
from tfod.commands.tables import note, say


@click.command()
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    help="A .tflite file, or a folder of them, to choose from in the page; can be repeated.  "
    f"[default: {SHIPPED_NAME}]",
)
@click.option(
    "--host", default="localhost", show_default=True, help="0.0.0.0 to allow other machines."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--output", type=PATH, help="Write the page to this folder instead of serving it.")
@OVERWRITE
def live(
    models: tuple[Path, ...], host: str, port: int, output: Path | None, overwrite: bool
) -> None:
    """Run a detector on a camera, in a browser.

    Browsers allow the camera on localhost and https:// only. For a phone, write the page with
    --output and copy the folder to any https:// host, such as GitHub Pages. Images stay on the
    phone, and the page works offline once it has been loaded. Its "Save image" downloads an image
    and the boxes in it as PASCAL VOC XML, to correct with `tfod label` and to train on.

    \b
    Example:
      tfod live --model exported_models/signs/model.tflite
    """
    import contextlib
    import tempfile

    from tfod.detection.tflite_file import read_tflite
    from tfod.files import replacing_folder
    from tfod.live import LIVE_PAGE, fetch_mediapipe, find_models, serve, write_site
    from tfod.progress import progress_bars

    found = find_models(models or [shipped_model()])
    with interruption.cleanup(), contextlib.ExitStack() as stack:
        if output is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            site = replacing_folder(output, overwrite, check_old=LIVE_PAGE.check, inputs=found)
            folder = stack.enter_context(site)
        with progress_bars("B") as progress:
            mediapipe = fetch_mediapipe(progress)
        write_site(found, folder, mediapipe)
        for model in found:
            if tiles := read_tflite(model).tiles:
                note(
                    f"{model}: its training images were tiles of {tiles.size} pixels; the page "
                    "does not cut images, so get close to the objects"
                )
        if output is None:
            serve(folder, host, port, lambda url: say(f"Open {url} (stop with Ctrl-C)"))
            return
    when_stored(say, f"written: {output}")
