"""`tfod compare`: compares models on the same split."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from tfod.commands.options import OVERWRITE, PATH, find_model
from tfod.commands.stored import when_stored
from tfod.commands.tables import say, table
from tfod.progress import progress_bars


@click.command()
@click.option("--data", type=PATH, required=True, help="Data set written by tfod convert.")
@click.option("--split", default="test", show_default=True, help="Split to evaluate on.")
@click.option(
    "--output", type=PATH, help="Folder for report.html, comparison.csv and comparison.png."
)
@OVERWRITE
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="RUN_OR_MODEL...")
def compare(
    data: Path, split: str, output: Path | None, overwrite: bool, models: tuple[Path, ...]
) -> None:
    """Compare models: accuracy, size, and time per image on this machine.

    Accepts run folders, export folders (the SavedModel, every .tflite and .onnx), single files,
    and names of `tfod zoo`.

    \b
    Example:
      tfod compare --data data/signs exported_models/signs runs/signs_640 --output runs/compared
    """
    from tfod.dataset.manifest import load_dataset
    from tfod.evaluation.candidates import find_candidates
    from tfod.evaluation.comparison import compare as compare_models
    from tfod.evaluation.comparison import comparison_table, formatted
    from tfod.files import replacing_folder

    dataset = load_dataset(data)
    dataset.split(split)  # fails on a missing split before the models load
    paths = [find_model(model) for model in models]
    candidates = find_candidates(paths)
    with contextlib.ExitStack() as stack:
        if output is not None:
            # Loads Matplotlib.
            from tfod.evaluation.comparison_report import COMPARISON, PAGE, write_comparison

            folder = stack.enter_context(
                replacing_folder(
                    output,
                    overwrite,
                    check_old=COMPARISON.check,
                    inputs=[data, *paths],
                )
            )
        with progress_bars() as progress:
            results = compare_models(candidates, dataset, split, progress)
        rows = comparison_table(results)
        if output is not None:
            write_comparison(folder, results, rows, dataset, split)
    for columns in (
        ["model", "kind", "input", "parameters", "MB", "steps", "minutes", "ms"],
        ["model", "kind", "AP", "AP50", "identified", "false", "threshold"],
    ):
        table(columns, list(formatted(rows, columns)))
    if output is not None:
        when_stored(say, f"written: {output / PAGE}")
