"""Reads the ground truth of MOTChallenge sequences: `gt.txt`, also from CVAT.

A sequence is a folder with `gt/gt.txt` and the frames `img1/000001.jpg`, … A line contains frame,
track, left, top, width, height, flag, class number and visibility, in pixels. Lines with the flag 0
do not count; they mark what looks like a pedestrian, or hides one. A box may extend beyond the
image. MOTChallenge counts pixels from 1, CVAT from 0; edges are used as written.
https://motchallenge.net/instructions, https://arxiv.org/abs/1603.00831
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.csv_file import Table
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number
from tfod.boxes import xywh_to_xyxy
from tfod.errors import UserError, quoted

NAMES = (
    *("pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle"),
    *("static person", "distractor", "occluder", "occluder on the ground", "occluder full"),
    *("reflection", "crowd"),
)


def is_ground_truth(path: Path) -> bool:
    """Returns whether a text file has the name of MOT's ground truth, and commas in its lines."""
    if path.name.lower() != "gt.txt":
        return False
    try:
        with path.open("rb") as file:
            return b"," in file.read(100)
    except OSError:
        return True  # `csv_file.read_table` reports it


def read_boxes(table: Table) -> list[RawAnnotation]:
    """Returns one annotation per frame; the sequence is its group.

    Class names are those of `labels.txt` in the same folder, otherwise those of MOTChallenge. A
    frame whose lines all have the flag 0 is left out: it is not an image without objects.

    Raises:
      UserError: a line has another format, its class has no name, or `labels.txt` cannot be read.
    """
    folder = table.path.parent
    sequence, subfolder = folder, table.subfolder
    if folder.name == "gt":
        sequence, subfolder = folder.parent, subfolder.removesuffix("gt").rstrip("/")
    names = _class_names(folder / "labels.txt")
    objects: dict[int, list[RawBox]] = {}
    ignored: dict[int, int] = {}
    for line, values in table.lines:
        label = f"line {line}"
        numbers = [value for text in values if (value := number(text)) is not None]
        if len(numbers) < max(7, len(values)) or numbers[0] % 1:
            what = f"{label} is {quoted(','.join(values))}"
            remedy = "Write frame, track, left, top, width, height, 1, class and visibility"
            raise UserError(table.path, what, remedy)
        frame, _, left, top, width, height, flag, class_number, *_ = (*numbers, -1.0)
        if flag == 0:
            ignored[int(frame)] = ignored.get(int(frame), 0) + 1
            continue
        name = names.get(class_number)
        if name is None:
            what = f"{label} has the class {class_number:g}, which has no name"
            raise UserError(table.path, what, "Add it to labels.txt in the same folder")
        box = Box(name, *xywh_to_xyxy(left, top, width, height))
        objects.setdefault(int(frame), []).append(RawBox(label, box))
    return [
        RawAnnotation(
            source=table.path,
            filename=f"{frame:06d}",
            objects=tuple(boxes),
            other_stem=f"{frame:08d}",  # as in DanceTrack
            subfolder=subfolder,
            beyond_edge=True,
            group=sequence.as_posix(),
            fixes=("box ignored",) * ignored.get(frame, 0),
            message_prefix=f"frame {frame}: ",
        )
        for frame, boxes in sorted(objects.items())
    ]


def _class_names(path: Path) -> Mapping[float, str]:
    """Returns class names by number, from 1. MOTChallenge 2015 writes -1 for pedestrians."""
    names = list(NAMES)
    if path.is_file():
        try:
            names = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(path, "cannot be read", "List the class names in UTF-8") from error
        names = [" ".join(name.split()) for name in names]
    by_number = {float(number): name for number, name in enumerate(names, 1) if name}
    return {-1.0: NAMES[0], **by_number}
