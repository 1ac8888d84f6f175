"""`tfod convert`: converts annotated images to TFRecord files and a label map."""

from __future__ import annotations

import gc

import click

from tfod.commands.options import OVERWRITE, PATH, RUNNER, RUNNER_OPTION, beam_options
from tfod.commands.stored import when_stored
from tfod.commands.tables import dataset_table, note, say
from tfod.errors import UserError
from tfod.progress import progress_bars
from tfod.tiles import MIN_SIZE, OVERLAP, Tiles


@click.command()
@click.option(
    "--annotations",
    type=PATH,
    required=True,
    help="Folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file.",
)
@click.option("--images", type=PATH, required=True, help="Folder of the images.")
@click.option("--output", type=PATH, required=True, help="Folder to write, such as data/NAME.")
@click.option(
    "--split", default="0.8,0.1,0.1", show_default=True, help="Fractions of train,val,test."
)
@click.option(
    "--split-by",
    type=PATH,
    help="Read the split from a CSV (filename, split), or a folder with {train,val,test}.txt.",
)
@click.option(
    "--group-by",
    metavar="similar|REGEX",
    help="Put images into one split that nearly repeat each other (the word 'similar'), or whose "
    "paths match the same text, such as frames of a video.",
)
@click.option("--label-map", type=PATH, help="Keep the class ids of this label map.")
@click.option(
    "--shards", type=click.IntRange(1), help="Files per split.  [default: one per 128 MiB]"
)
@click.option(
    "--workers", type=click.IntRange(1), help="Number of processes.  [default: all cores]"
)
@RUNNER
@RUNNER_OPTION
@click.option(
    "--verify",
    type=click.Choice(["decode", "headers"]),
    default="decode",
    show_default=True,
    help="Decode every image to check it, or check only its header.",
)
@click.option(
    "--tiles",
    type=click.IntRange(MIN_SIZE),
    metavar="PIXELS",
    help="For small objects in large images: cut the images of train and val into squares of this "
    "size. The detector then does the same.",
)
@click.option(
    "--tile-overlap",
    type=click.FloatRange(0, 0.9),
    metavar="FRACTION",
    help=f"Fraction of a tile that its neighbor contains too.  [default: {OVERLAP}]",
)
@click.option(
    "--exif",
    type=click.Choice(["apply", "ignore"]),
    help="Whether boxes were drawn on images rotated by their EXIF orientation, where the "
    "annotated size does not show it.  [default: apply, with a note]",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of split and order."
)
@click.option(
    "--fix",
    is_flag=True,
    help="Repair faults that need no guess, such as boxes outside the image, and list them in "
    "dataset.json.",
)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out files with faults and list them in dataset.json."
)
@OVERWRITE
def convert(
    split: str,
    verify: str,
    tiles: int | None,
    tile_overlap: float | None,
    runner: str | None,
    runner_options: tuple[str, ...],
    **arguments,
) -> None:
    """Check annotated images and write them as TFRecord files.

    Annotations are PASCAL VOC XML (LabelImg, CVAT, Roboflow), COCO JSON, YOLO labels, MOT gt.txt,
    or the CSV of the OD API tutorials, Udacity, keras-retinanet or Open Images. The format is
    detected from the files.

    \b
    Example:
      tfod convert --annotations signs/annotations --images signs/images --output data/signs
    """
    from tfod.conversion.converter import convert

    try:
        fractions = tuple(float(part) for part in split.split(","))
    except ValueError as error:
        raise UserError("--split", f"is {split!r}", "Give fractions such as 0.8,0.1,0.1") from error
    if tile_overlap is not None and tiles is None:
        raise UserError("--tile-overlap", "needs --tiles", "Give both or none")
    tiling = Tiles(tiles, OVERLAP if tile_overlap is None else tile_overlap) if tiles else None
    beam = beam_options(runner, runner_options)
    # All annotations stay in memory; garbage collection would take a tenth of the time.
    gc.disable()
    with progress_bars("file") as progress:
        decode = verify == "decode"
        data = convert(
            split=fractions,
            decode=decode,
            tiles=tiling,
            beam=beam,
            progress=progress,
            **arguments,
        )
    dataset_table(data)
    for remark in data.remarks:
        note(remark.what)
    when_stored(say, f"written: {data.folder}")
