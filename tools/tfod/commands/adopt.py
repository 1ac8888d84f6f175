"""`tfod adopt`: makes a data set from TFRecord files that other programs wrote."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import OVERWRITE, PATH
from tfod.commands.stored import when_stored
from tfod.commands.tables import dataset_table, note, say
from tfod.errors import UserError
from tfod.progress import progress_bars


@click.command()
@click.argument("folder", type=PATH, required=False)
@click.option("--train", type=PATH, help="TFRecord file, folder of them, or quoted pattern.")
@click.option("--val", type=PATH, help="The same for the val split.")
@click.option("--test", type=PATH, help="The same for the test split.")
@click.option("--label-map", type=PATH, help="Label map of the records.  [default: that in FOLDER]")
@click.option("--output", type=PATH, required=True, help="Folder to write, such as data/NAME.")
@click.option(
    "--skip-bad", is_flag=True, help="Leave out records with faults and list them in dataset.json."
)
@OVERWRITE
def adopt(
    folder: Path | None, train: Path | None, val: Path | None, test: Path | None, **arguments
) -> None:
    """Check TFRecord files that other programs wrote, and copy them to a data set.

    The records must have the features of the Object Detection API, as in the tutorials and in the
    exports of Roboflow and CVAT. Give the files of each split, or a FOLDER in which the names of
    subfolders or files contain train, valid or test.

    \b
    Example:
      tfod adopt --train train.record --val 'val.record-*' --label-map label_map.pbtxt \\
        --output data/signs
      tfod adopt roboflow/ --output data/signs
    """
    from tfod.conversion.adoption import adopt

    options = {"train": train, "val": val, "test": test}
    splits = {split: path for split, path in options.items() if path is not None}
    if bool(folder) == bool(splits):
        what = "got both FOLDER and splits" if folder else "got no TFRecord files"
        raise UserError("tfod adopt", what, "Give either FOLDER, or --train, --val and --test")
    with progress_bars("B") as progress:
        data = adopt(folder or splits, progress=progress, **arguments)
    dataset_table(data)
    for remark in data.remarks:
        note(remark.what)
    when_stored(say, f"written: {data.folder}")
