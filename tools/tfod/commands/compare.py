"""`tfod compare`: compares models on the same split."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import OVERWRITE, PATH
from tfod.commands.tables import table
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
    from tfod.files import refuse_existing

    dataset = load_dataset(data)
    dataset.split(split)  # fails on a missing split before the models load
    if output is not None:
        refuse_existing(output, overwrite)

    with progress_bars() as progress:
        candidates = comparison.find_candidates(models)
        results = comparison.compare(candidates, dataset, split, progress)
    for header, rows in comparison.terminal_tables(results):
        table(header, rows)
    if output is not None:
        comparison.write_comparison(results, output)
        click.echo(f"written: {output}")
