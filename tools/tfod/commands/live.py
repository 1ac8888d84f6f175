"""`tfod live`: runs a detector in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import OVERWRITE, PATH


@click.command()
@click.option("--model", type=PATH, required=True, help=".tflite file written by tfod export.")
@click.option(
    "--host", default="localhost", show_default=True, help="0.0.0.0 to allow other machines."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--output", type=PATH, help="Write the page to this folder instead of serving it.")
@OVERWRITE
def live(model: Path, host: str, port: int, output: Path | None, overwrite: bool) -> None:
    """Run a detector on a camera, in a browser.

    Browsers allow the camera on localhost and https:// only. For a phone, write the page with
    --output and copy the folder to any https:// host, such as GitHub Pages. Images stay on the
    phone, and the page works offline once it has been loaded.

    \b
    Example:
      tfod live --model exported_models/signs/model.tflite
    """
    import tempfile

    from tfod.files import refuse_existing
    from tfod.live import fetch_mediapipe, serve, write_site
    from tfod.progress import progress_bars

    if output is not None:
        refuse_existing(output, overwrite)
    with progress_bars("B") as progress:
        mediapipe = fetch_mediapipe(progress)
    if output is not None:
        click.echo(f"written: {write_site(model, output, mediapipe)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        site = write_site(model, Path(folder) / "site", mediapipe)
        serve(site, host, port, lambda address: click.echo(f"Open {address} (stop with Ctrl-C)"))
