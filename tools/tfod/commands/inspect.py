"""`tfod inspect`: prints statistics of a data set."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import OVERWRITE, PATH
from tfod.commands.tables import table
from tfod.progress import progress_bars


@click.command()
@click.argument("data", type=PATH)
@click.option("--label-map", type=PATH, help="Label map of records that tfod did not write.")
@click.option(
    "--pipeline", help="Template or pipeline.config; compares its anchors with the boxes."
)
@click.option("--output", type=PATH, help="Folder for an HTML page with plots and examples.")
@OVERWRITE
def inspect(
    data: Path,
    label_map: Path | None,
    pipeline: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Show the classes and sizes in a data set, and problems to fix before training.

    DATA is a folder that `tfod convert` wrote, or any folder with TFRecord files.

    \b
    Example:
      tfod inspect data/signs --pipeline ssd_mobilenet_v2_fpnlite_320x320 --output runs/signs_data
    """
    from tfod.files import refuse_existing, replacing_folder
    from tfod.inspection import statistics
    from tfod.model.pipeline import read_pipeline
    from tfod.model.templates import find_template

    if output is not None:
        refuse_existing(output, overwrite)
    records = statistics.find_records(data, label_map)
    config = read_pipeline(find_template(pipeline)) if pipeline else None
    with progress_bars() as progress:
        inspection = statistics.inspect(records, progress)
    counts = statistics.class_counts(inspection)
    splits = list(dict.fromkeys(split for split, _ in counts.columns))
    table(
        ["class: objects in N images", *splits],
        [
            [name, *(f"{row[split, 'objects']} in {row[split, 'images']}" for split in splits)]
            for name, row in counts.iterrows()
        ],
    )
    sizes = statistics.size_table(inspection)
    table(
        ["", *sizes.columns],
        [
            [name, *(f"{value:.4g}" for value in row)]
            for name, row in zip(sizes.index, sizes.to_numpy(), strict=True)
        ],
    )
    anchor_table = None
    if config is not None:
        anchor_table = statistics.anchor_table(inspection, config)
        rows = [[name, *column] for name, column in anchor_table.items()]
        table(["anchors", *anchor_table.index], rows)
    warnings = statistics.warnings(inspection, config)
    for warning in warnings:
        click.echo(f"note: {warning}")
    if output is not None:
        from tfod.inspection.page import write_page

        with replacing_folder(output) as partial:
            title = data.resolve().name
            write_page(partial / "index.html", title, inspection, warnings, anchor_table)
        click.echo(f"written: {output / 'index.html'}")
