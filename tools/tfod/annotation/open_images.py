"""Reads the box files of Open Images, such as `validation-annotations-bbox.csv`.

The columns include ImageID, LabelName, XMin, XMax, YMin and YMax, as fractions of the image size.
The class names of labels such as `/m/01g317` are in a file with `class-descriptions` in its name.
https://storage.googleapis.com/openimages/web/download_v7.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfod.annotation import csv_file
from tfod.annotation.csv_file import Row, Table, group_rows
from tfod.annotation.raw_annotation import RawAnnotation

COLUMNS = ("imageid", "labelname", "xmin", "ymin", "xmax", "ymax")
FLAGS = ("istruncated", "isoccluded", "isgroupof")  # 1, 0 or -1 for unknown; may be missing


def matches(table: Table) -> bool:
    """Returns whether a table has these columns."""
    return set(COLUMNS) <= set(table.first)


def has_no_boxes(table: Table) -> bool:
    """Returns whether a table is one of the other files of Open Images: classes, or no boxes."""
    first = table.first
    return ("imageid" in first and not matches(table)) or _is_class_list(table)


def read_boxes(table: Table) -> list[RawAnnotation]:
    """Returns one annotation per image, see `csv_file.group_rows`.

    Boxes of a group (`IsGroupOf`) become `Box.crowd`. Without a file of class names beside the
    table or one folder above, labels are the class names.

    Raises:
      UserError: the file of class names cannot be read.
    """
    names = _class_names(table.path.parent)
    flags = [flag for flag in FLAGS if flag in table.first]
    rows = []
    for line, values in table.select((*COLUMNS, *flags)):
        image, label, xmin, ymin, xmax, ymax, *flag_values, surplus = values
        is_set = {flag: value == "1" for flag, value in zip(flags, flag_values, strict=True)}
        truncated, occluded, crowd = (is_set.get(flag, False) for flag in FLAGS)
        rows.append(
            Row(
                line,
                image,
                names.get(label, label),
                (xmin, ymin, xmax, ymax),
                surplus=surplus,
                truncated=truncated,
                occluded=occluded,
                crowd=crowd,
            )
        )
    return group_rows(table, rows, normalized=True)


def _class_names(folder: Path) -> Mapping[str, str]:
    """Returns class names by label."""
    for location in (folder, folder.parent):
        for path in sorted(location.glob("*class-descriptions*.csv")):
            table = csv_file.read_table(path, location)
            if _is_class_list(table):
                return {values[0]: values[1] for _, values in table.lines}
    return {}


def _is_class_list(table: Table) -> bool:
    """Returns whether the lines are a label and its class name."""
    first = table.first
    is_header = first == ["labelname", "displayname"]
    return is_header or (len(first) == 2 and first[0].startswith(("/m/", "/g/", "/t/")))
