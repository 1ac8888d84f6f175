"""`tfod compare`: compares models on the same split."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from tfod.commands.options import OVERWRITE, PATH
from tfod.commands.tables import say, table
from tfod.progress import progress_bars


@click.command()
@click.option("--data", type=PATH, required=True, help="Data set written by tfod convert.")
@click.option("--split", default="test", show_default=True, help="Split to evaluate on.")
@click.option("--output", type=PATH, help="Folder for comparison.csv and comparison.png.")
@OVERWRITE
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="RUN_OR_MODEL...")
def compare(
    data: Path, split: str, output: Path | None, overwrite: bool, models: tuple[Path, ...]
) -> None:
    """Compare models: accuracy, size, and time per image on this machine.

    Accepts run folders, export folders (the SavedModel and every .tflite) and single .tflite files.

    \b
    Example:
      tfod compare --data data/signs exported_models/signs runs/signs_640 --output runs/compared
    """
    from tfod.dataset.manifest import load_dataset
    from tfod.evaluation import comparison
    from tfod.files import replacing_folder

    dataset = load_dataset(data)
    dataset.split(split)  # fails on a missing split before the models load
    candidates = comparison.find_candidates(models)
    with contextlib.ExitStack() as stack:
        if output is not None:
            folder = stack.enter_context(
                replacing_folder(
                    output,
                    overwrite,
                    kind="a comparison",
                    is_kind=comparison.is_comparison,
                    inputs=[data, *models],
                )
            )
        with progress_bars() as progress:
            results = comparison.compare(candidates, dataset, split, progress)
        if output is not None:
            comparison.write_comparison(results, folder)
    for header, rows in comparison.terminal_tables(results):
        table(header, rows)
    if output is not None:
        say(f"written: {output}")
