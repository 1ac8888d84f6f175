"""Reads the CSV format of keras-retinanet: path, x1, y1, x2, y2, class, without column names.

The corners are in pixels. `path,,,,,` is an image without objects. A second file lists the classes
with their numbers; it is not needed.
"""

from __future__ import annotations

from tfod.annotation.csv_file import Row, Table, group_rows
from tfod.annotation.raw_annotation import RawAnnotation, number

COLUMNS = 6


def matches(table: Table) -> bool:
    """Returns whether the first line is a box or an image without objects."""
    first = table.first
    if len(first) != COLUMNS or not first[0]:
        return False
    corners = first[1:5]
    return not any(first[1:]) or all(number(corner) is not None for corner in corners)


def is_class_list(table: Table) -> bool:
    """Returns whether all lines are a class and its number."""
    return bool(table.lines) and all(
        len(values) == 2 and values[1].isdecimal() for _, values in table.lines
    )


def read_boxes(table: Table) -> list[RawAnnotation]:
    """Returns one annotation per image, see `csv_file.group_rows`."""
    rows = []
    for line, values in table.lines:
        path, xmin, ymin, xmax, ymax, name, *more = values + [""] * (COLUMNS - len(values))
        rows.append(Row(line, path, name, (xmin, ymin, xmax, ymax), surplus=",".join(more)))
    return group_rows(table, rows)
