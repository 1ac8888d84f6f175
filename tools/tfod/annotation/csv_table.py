"""Reads the CSV format of the OD API tutorials: one row per box.

The columns are filename, width, height, class, xmin, ymin, xmax, ymax, in pixels, in any order.
Other columns are ignored. The `annotations.csv` of a data set has this format. A row with neither
class nor corners is an image without objects.
"""

from __future__ import annotations

from tfod.annotation import CORNERS
from tfod.annotation.csv_file import Row, Table, group_rows
from tfod.annotation.raw_annotation import RawAnnotation
from tfod.errors import UserError

COLUMNS = ("filename", "width", "height", "class", *CORNERS)
REMEDY = f"Give a CSV with the columns {', '.join(COLUMNS)}"


def read_boxes(table: Table) -> list[RawAnnotation]:
    """Returns one annotation per image, see `csv_file.group_rows`.

    Raises:
      UserError: a column is missing.
    """
    missing = [name for name in COLUMNS if name not in table.first]
    if missing:
        raise UserError(table.path, f"has no column {', '.join(missing)}", REMEDY)
    rows = (
        Row(line, filename, name, (xmin, ymin, xmax, ymax), (width, height), surplus)
        for line, (filename, width, height, name, xmin, ymin, xmax, ymax, surplus) in table.select(
            COLUMNS
        )
    )
    return group_rows(table, rows)
