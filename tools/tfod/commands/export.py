"""`tfod export`: SavedModel and TFLite, held against the checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tfod.commands.options import FOLDER, INPUT_SIZE, OVERWRITE
from tfod.commands.tables import table
from tfod.errors import UserError


@click.command()
@click.option("--run", type=FOLDER, required=True, help="Run folder: its best checkpoint.")
@click.option("--output", type=FOLDER, required=True, help="Such as exported_models/NAME.")
@click.option(
    "--tflite",
    metavar="VARIANTS",
    help="Of float32, float16, dynamic, int8, with commas between.  [default: all]",
)
@click.option(
    "--nms",
    type=click.Choice(["regular", "fast"]),
    help="How a .tflite suppresses boxes: within a class, or not.  [default: fast if as accurate]",
)
@INPUT_SIZE
@OVERWRITE
def export(
    run: Path,
    output: Path,
    tflite: str | None,
    nms: str | None,
    input_size: int | None,
    overwrite: bool,
) -> None:
    """Write a run's best checkpoint as SavedModel and, for SSD models, TFLite.

    A .tflite goes into an Android app as it is: class names and normalization are in it. The table
    at the end holds each against the checkpoint, on 50 pictures of the val split.

    \b
    Example:
      tfod export --run runs/signs --output exported_models/signs
    """
    from tqdm import tqdm

    from tfod.export import export
    from tfod.export.tflite_converter import VARIANTS
    from tfod.model import ExportFolder
    from tfod.progress import progress_bars

    variants = tflite.split(",") if tflite is not None else None
    for variant in variants or ():
        if variant not in VARIANTS:
            raise UserError("--tflite", f"is {tflite!r}", f"Give some of {','.join(VARIANTS)}")

    def note(text: str) -> None:
        tqdm.write(f"note: {text}", file=sys.stderr)  # above the bar, not into it

    with progress_bars("file") as progress:
        export(run, output, overwrite, input_size, variants, nms, progress, note)
    for path in sorted(output.iterdir()):
        size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
        click.echo(f"{size / 1e6:8.2f} MB  {path}")
    parity = ExportFolder(output).parity
    if parity.is_file():
        _print_parity(parity)


def _print_parity(path: Path) -> None:
    import pandas as pd

    def cell(value: float, form: str) -> str:
        return "-" if pd.isna(value) else f"{value:{form}}"

    forms = {"MB": ".2f", "AP50": ".3f", "box_difference": ".5f", "unlike": ".1%"}
    table(
        ["model", "MB", "AP50", "box off", "unlike", "ms, 1 thread", "2 threads"],
        [
            [row.pop("model"), *(cell(v, forms.get(name, ".1f")) for name, v in row.items())]
            for row in pd.read_csv(path).to_dict("records")
        ],
    )
