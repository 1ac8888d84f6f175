"""`tfod inspect`: prints statistics of a data set."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfod.commands.options import OVERWRITE, PATH, RUNNER, RUNNER_OPTION, find_cluster, find_model
from tfod.commands.stored import when_stored
from tfod.commands.tables import say, table
from tfod.errors import UserError
from tfod.progress import Progress, progress_bars

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tfod.inspection.statistics import Inspection
    from tfod.inspection.suspicious import SuspiciousAnnotations

PRINTED = 20  # suspicious annotations


@click.command()
@click.argument("data", type=PATH)
@click.option("--label-map", type=PATH, help="Label map of records that tfod did not write.")
@click.option(
    "--pipeline", help="Template or pipeline.config; compares its anchors with the boxes."
)
@click.option(
    "--augmented",
    is_flag=True,
    help="Show images on the page as training augments them: with the augmentation of --pipeline, "
    "or of `tfod train` without --pipeline.",
)
@click.option(
    "--model",
    type=PATH,
    help="List annotations with which this model disagrees: export folder, .tflite or .onnx file, "
    "run folder, or a NAME of `tfod zoo`.",
)
@RUNNER
@RUNNER_OPTION
@click.option("--output", type=PATH, help="Folder for an HTML page with plots and examples.")
@OVERWRITE
def inspect(
    data: Path,
    label_map: Path | None,
    pipeline: str | None,
    augmented: bool,
    model: Path | None,
    runner: str | None,
    runner_options: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Show the classes and sizes in a data set, and problems to fix before training.

    Among them are images that nearly repeat an image of another split: --output shows them. With
    --model, they are also annotations that may be wrong: missing boxes, wrong classes, loose boxes.

    DATA is a folder that `tfod convert` wrote, or any folder with TFRecord files.

    \b
    Example:
      tfod inspect data/signs --pipeline ssd_mobilenet_v2_fpnlite_320x320 --output runs/signs_data
    """
    from tfod.detection.detector import Detector
    from tfod.files import replacing_folder
    from tfod.inspection import similar_pairs, statistics, suspicious
    from tfod.model.build import is_simple_cnn
    from tfod.model.pipeline import read_pipeline
    from tfod.model.templates import find_template

    if augmented and output is None:
        raise UserError("--augmented", "needs a page to show images on", "Give --output")
    if runner is not None and model is None:
        raise UserError("--runner", "runs a model, and there is none", "Give --model")
    cluster = find_cluster(runner, runner_options, output)
    records = statistics.find_records(data, label_map)
    model = None if model is None else find_model(model)
    template = find_template(pipeline) if pipeline else None
    config = read_pipeline(template) if template else None
    with contextlib.ExitStack() as stack:
        if output is not None:
            from tfod.inspection import page  # loads Matplotlib

            folder = stack.enter_context(
                replacing_folder(
                    output,
                    overwrite,
                    check_old=page.INSPECT_PAGE.check,
                    inputs=[path for path in (data, label_map, template, model) if path],
                )
            )
        with progress_bars() as progress:
            inspection = statistics.inspect(records, progress)
            similar = similar_pairs.across_splits(records, progress)
            drawn = _draw_augmented(data, pipeline, progress) if augmented else {}
            suspect = suspicious.SuspiciousAnnotations()
            if model is not None:
                detector = Detector.load(model)
                suspect = suspicious.find_suspicious(records, detector, progress, cluster)
        warnings = statistics.warnings(inspection, config) + similar_pairs.warnings(similar)
        warnings += suspicious.warnings(suspect)
        anchor_table = None
        if config is not None and not is_simple_cnn(config):
            anchor_table = statistics.anchor_table(inspection, config)
        if output is not None:
            title = data.resolve().name
            page.write_page(
                *(folder, title, inspection, warnings, similar, anchor_table, drawn, suspect)
            )
    _print_tables(inspection, anchor_table)
    if suspect.found:
        _print_suspicious(suspect)
    for warning in warnings:
        say(f"note: {warning}")
    if output is not None:
        when_stored(say, f"written: {output / page.PAGE}")


def _draw_augmented(
    data: Path, pipeline: str | None, progress: Progress
) -> dict[str, list[np.ndarray]]:
    """Returns drawn images by their names, with the augmentation of a template or of `auto`."""
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, configure, configure_data
    from tfod.model.templates import find_template
    from tfod.planning.plan import make_plan
    from tfod.planning.rules import DEFAULT_MINUTES, Wishes
    from tfod.training.augmented import augmented_images

    dataset = load_dataset(data)
    if pipeline is not None:
        config = configure(find_template(pipeline), dataset, Options())
    else:
        config = make_plan(dataset, Wishes(DEFAULT_MINUTES)).pipeline
        configure_data(config, dataset)
    images = augmented_images(dataset, config, progress)
    return {name: [image.draw() for image in variants] for name, variants in images.items()}


def _print_suspicious(suspicious: SuspiciousAnnotations) -> None:
    table(
        ["suspicious annotations in", "annotated", "detected", "mistake?"],
        [
            [
                item.source_id,
                item.name if item.is_annotated else "-",
                item.detected or "-",
                f"{item.kind} ({item.suspicion:.0%})",
            ]
            for item in suspicious.found[:PRINTED]
        ],
    )


def _print_tables(inspection: Inspection, anchor_table: pd.DataFrame | None) -> None:
    from tfod.inspection import statistics

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
    if anchor_table is not None:
        rows = [[name, *column] for name, column in anchor_table.items()]
        table(["anchors", *anchor_table.index], rows)
