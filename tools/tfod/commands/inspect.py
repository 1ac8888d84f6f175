"""`tfod inspect`: what is in a data set."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import FOLDER, OVERWRITE
from tfod.commands.tables import table
from tfod.progress import progress_bars


@click.command()
@click.argument("data", type=FOLDER)
@click.option("--label-map", type=FOLDER, help="For records that tfod did not write.")
@click.option("--pipeline", help="Template or pipeline.config to hold the boxes against.")
@click.option("--output", type=FOLDER, help="Folder for an HTML page with plots and samples.")
@OVERWRITE
def inspect(
    data: Path,
    label_map: Path | None,
    pipeline: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Show what is in a data set: classes, sizes, and what to mend before training.

    \b
    Example:
      tfod inspect data/signs --pipeline ssd_mobilenet_v2_fpnlite_320x320 --output runs/signs_data
    """
    from tfod.files import refuse_existing, replacing_folder
    from tfod.inspection import statistics as inspection
    from tfod.model.pipeline import read_pipeline
    from tfod.model.templates import find_template

    if output is not None:
        refuse_existing(output, overwrite)
    records = inspection.find_records(data, label_map)
    config = read_pipeline(find_template(pipeline)) if pipeline else None
    with progress_bars() as progress:
        found = inspection.inspect(records, progress)
    counts = inspection.class_counts(found)
    splits = list(dict.fromkeys(split for split, _ in counts.columns))
    table(
        ["class: objects in pictures", *splits],
        [
            [name, *(f"{row[split, 'objects']} in {row[split, 'pictures']}" for split in splits)]
            for name, row in counts.iterrows()
        ],
    )
    sizes = inspection.size_table(found)
    table(
        ["", *sizes.columns],
        [
            [name, *(f"{value:.4g}" for value in row)]
            for name, row in zip(sizes.index, sizes.to_numpy(), strict=True)
        ],
    )
    fits = None
    if config is not None:
        fits = inspection.anchor_table(found, config)
        table(["anchors", *fits.index], [[name, *column] for name, column in fits.items()])
    warnings = inspection.warnings(found, config)
    for warning in warnings:
        click.echo(f"note: {warning}")
    if output is not None:
        from tfod.inspection.page import write_page

        with replacing_folder(output) as partial:
            write_page(partial / "index.html", data.resolve().name, found, warnings, fits)
        click.echo(f"written: {output / 'index.html'}")
