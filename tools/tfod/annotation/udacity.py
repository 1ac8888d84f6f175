"""Reads the CSV formats of the Udacity driving data set: one row per box, in pixels.

The columns are xmin, xmax, ymin, ymax, Frame and Label (and a Preview URL, which is ignored), or
frame, xmin, xmax, ymin, ymax and class_id, a number that becomes the class name.

The file that Udacity published has the first header, but its values are xmin, ymin, xmax, ymax:
`785,533,905,644`. So both orders are tried.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfod.annotation.csv_file import Row, Table, group_rows
from tfod.annotation.raw_annotation import RawAnnotation, number

EDGES = ("xmin", "xmax", "ymin", "ymax")
Four = tuple[str, str, str, str]


def matches(table: Table) -> bool:
    """Returns whether a table has these columns."""
    columns = set(table.first)
    return {"frame", *EDGES} <= columns and bool(columns & {"label", "class_id"})


def read_boxes(table: Table) -> list[RawAnnotation]:
    """Returns one annotation per image, see `csv_file.group_rows`.

    If more rows have an area in the published order than in that of the header, it is used, with
    the fix "columns in another order". If all rows have an area in both, the header is right, with
    the fix "columns unclear".
    """
    label = "label" if "label" in table.first else "class_id"
    lines = table.select(("frame", label, *EDGES))
    as_named: list[Four] = []
    as_published: list[Four] = []
    for _, (_, _, first, second, third, fourth, _) in lines:
        as_named.append((first, third, second, fourth))
        as_published.append((first, second, third, fourth))
    fits_named, fits_published = (sum(map(_has_area, boxes)) for boxes in (as_named, as_published))
    corners, fixes = as_named, []
    if fits_published > fits_named:
        corners, fixes = as_published, ["columns in another order"]
    elif fits_published == len(lines):
        fixes = ["columns unclear"]
    rows = (
        Row(line, values[0], values[1], box, surplus=values[-1])
        for (line, values), box in zip(lines, corners, strict=True)
    )
    return group_rows(table, rows, fixes=tuple(fixes))


def _has_area(corners: Sequence[str]) -> bool:
    xmin, ymin, xmax, ymax = (number(text) for text in corners)
    if xmin is None or ymin is None or xmax is None or ymax is None:
        return False
    return xmin < xmax and ymin < ymax
