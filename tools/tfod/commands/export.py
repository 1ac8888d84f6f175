"""`tfod export`: exports a run as SavedModel and TFLite."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import INPUT_SIZE, OVERWRITE, PATH, find_model
from tfod.commands.stored import update_copy, when_stored
from tfod.commands.tables import note, say, table
from tfod.errors import UserError
from tfod.progress import progress_bars


@click.command()
@click.option(
    "--run",
    type=PATH,
    required=True,
    help="Run folder; exports its best checkpoint. Or a NAME of `tfod zoo`.",
)
@click.option(
    "--output", type=PATH, required=True, help="Folder to write, such as exported_models/NAME."
)
@click.option(
    "--tflite",
    metavar="VARIANTS",
    help="Comma-separated list of float32, float16, dynamic, int8.  [default: all possible]",
)
@click.option(
    "--nms",
    type=click.Choice(["regular", "fast"]),
    help="Non-maximum suppression in .tflite files of SSD models: regular within each class, fast "
    "across classes.  [default: fast if it is as accurate]",
)
@click.option(
    "--outputs",
    type=click.Choice(["boxes", "raw"]),
    default="boxes",
    show_default=True,
    help="What .tflite files of SSD models return: detections; or the raw outputs of the network, "
    "so that an accelerator can run all of it.",
)
@click.option("--onnx", is_flag=True, help="Write model.onnx, too, for ONNX Runtime.")
@INPUT_SIZE
@OVERWRITE
def export(
    run: Path,
    output: Path,
    tflite: str | None,
    nms: str | None,
    outputs: str,
    onnx: bool,
    input_size: int | None,
    overwrite: bool,
) -> None:
    """Write a run's best checkpoint, or a model of the zoo, as SavedModel and TFLite.

    TFLite needs a fixed input size, as in all templates. SSD models are written as float32,
    float16, dynamic and int8, Faster R-CNN as float32, float16 and dynamic.

    A .tflite contains class names and normalization, so an Android app needs no other file. The
    table compares each model with the checkpoint, on 50 images of the val split.

    \b
    Example:
      tfod export --run runs/signs --output exported_models/signs
    """
    from tfod.export import export
    from tfod.export.tflite_converter import VARIANTS
    from tfod.model import ExportFolder
    from tfod.model.pipeline import read_pipeline
    from tfod.model.run_folder import RunFolder

    variants = tflite.split(",") if tflite is not None else None
    for variant in variants or ():
        if variant not in VARIANTS:
            raise UserError(
                "--tflite", f"unknown variant {variant!r}", f"Choose from {', '.join(VARIANTS)}"
            )

    source = find_model(run)
    if (config := RunFolder(source).config).is_file():
        reader = read_pipeline(config).train_input_reader  # its images calibrate int8 models
        update_copy(Path(reader.label_map_path).parent)
    with progress_bars("model") as progress:
        export(source, output, overwrite, input_size, variants, nms, outputs, onnx, progress, note)
    for path in sorted(output.iterdir()):
        size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
        when_stored(say, f"{size / 1e6:8.2f} MB  {path}")
    parity = ExportFolder(output).parity
    if parity.is_file():
        when_stored(_print_parity, parity)


def _print_parity(path: Path) -> None:
    import pandas as pd

    def cell(column: str, value: float) -> str:
        return "-" if pd.isna(value) else f"{value:{formats.get(column, '.1f')}}"

    formats = {"MB": ".2f", "AP50": ".3f", "box_error": ".5f", "unmatched": ".1%"}
    table(
        ["model", "MB", "AP50", "box error", "unmatched", "ms, 1 thread", "ms, 2 threads"],
        [
            [row.pop("model"), *(cell(column, value) for column, value in row.items())]
            for row in pd.read_csv(path).to_dict("records")
        ],
    )
