"""`tfod convert`: annotated pictures in, TFRecord and label map out."""

from __future__ import annotations

import gc

import click

from tfod.commands.options import FOLDER, OVERWRITE
from tfod.commands.tables import table
from tfod.errors import UserError
from tfod.progress import progress_bars


@click.command()
@click.option(
    "--annotations",
    type=FOLDER,
    required=True,
    help="Folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file.",
)
@click.option("--images", type=FOLDER, required=True, help="Folder of the pictures.")
@click.option("--output", type=FOLDER, required=True, help="Folder to write, such as data/NAME.")
@click.option("--split", default="0.8,0.1,0.1", show_default=True, help="Train,val,test fractions.")
@click.option(
    "--split-by",
    type=FOLDER,
    help="Split as a CSV (filename, split) or a folder of train.txt, val.txt, test.txt says.",
)
@click.option(
    "--group-by",
    metavar="REGEX",
    help="Keep pictures together in whose path this finds the same: frames of a video.",
)
@click.option("--label-map", type=FOLDER, help="Keep the class ids of this label map.")
@click.option("--shards", type=click.IntRange(1), help="Files a split.  [default: by size]")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores]")
@click.option("--runner", help="Work on a cluster: DirectRunner, FlinkRunner … of Apache Beam.")
@click.option(
    "--runner-option",
    "runner_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the runner, such as flink_master=host:8081. May be given often.",
)
@click.option(
    "--verify",
    type=click.Choice(["decode", "headers"]),
    default="decode",
    show_default=True,
    help="Decode every picture first, or read headers only.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split and order."
)
@click.option("--skip-bad", is_flag=True, help="Leave out files with faults; list them.")
@OVERWRITE
def convert(
    split: str, verify: str, runner: str | None, runner_options: tuple[str, ...], **arguments
) -> None:
    """Check annotated pictures, and write them as TFRecord.

    Annotations are PASCAL VOC XML (LabelImg, CVAT, Roboflow), COCO JSON, YOLO labels, or the CSV
    of the tutorials; which one is seen from the files.

    \b
    Example:
      tfod convert --annotations signs/annotations --images signs/images --output data/signs
    """
    from tfod.conversion.converter import convert

    try:
        fractions = tuple(float(part) for part in split.split(","))
    except ValueError as error:
        raise UserError("--split", f"is {split!r}", "Give fractions as 0.8,0.1,0.1") from error
    if runner_options and not runner:
        raise UserError("--runner-option", "is for a --runner", "Give both or none")
    # The annotations stay till the end; looking among them for garbage takes a tenth of the time.
    gc.disable()
    beam = [f"--runner={runner}", *(f"--{option}" for option in runner_options)] if runner else ()
    with progress_bars("file") as progress:
        decode = verify == "decode"
        data = convert(split=fractions, decode=decode, beam=beam, progress=progress, **arguments)
    table(
        ["split", "images", *data.classes.values()],
        [
            [name, s.images, *(s.objects_per_class[c] for c in data.classes.values())]
            for name, s in data.splits.items()
        ],
    )
    for remark in data.remarks:
        click.echo(f"note: {remark.what}", err=True)
    click.echo(f"written: {data.folder}")
