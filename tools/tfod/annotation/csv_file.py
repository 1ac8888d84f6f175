"""What the CSV formats have in common: reading rows, and grouping them by image.

Each format's module (`csv_table`, `udacity`, `retinanet`, `open_images`) says whether a table has
its columns, and translates each line to a `Row`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number, subfolder_of
from tfod.errors import FileFault, UserError, quoted


@dataclass(frozen=True)
class Table:
    """The lines of a CSV file.

    Attributes:
      path: the file.
      subfolder: its folder, relative to all annotations.
      lines: line number and values without spaces around them, of each line that is not empty.
    """

    path: Path
    subfolder: str
    lines: Sequence[tuple[int, list[str]]]

    @property
    def first(self) -> list[str]:
        """The first line: the column names in lower case, or values if there are no names."""
        return [text.lower() for text in self.lines[0][1]] if self.lines else []

    def select(self, columns: Sequence[str]) -> list[tuple[int, list[str]]]:
        """Returns the lines below the column names, with the values of these columns.

        A value that is missing is an empty text. If a line has more values than there are columns,
        their text follows as one more value.
        """
        indices = [self.first.index(column) for column in columns]
        count = len(self.lines[0][1])
        return [
            (
                number,
                [values[i] if i < len(values) else "" for i in indices]
                + [",".join(values[count:])],
            )
            for number, values in self.lines[1:]
        ]


@dataclass(frozen=True)
class Row:
    """One line as text: a box, or an image without objects if class and corners are empty.

    Attributes:
      line: its number.
      filename: may contain folders.
      name: class name.
      corners: xmin, ymin, xmax, ymax.
      size: width and height; empty if not known.
      surplus: values beyond the last column.
    """

    line: int
    filename: str
    name: str
    corners: tuple[str, str, str, str]
    size: tuple[str, str] = ("", "")
    surplus: str = ""
    truncated: bool = False
    occluded: bool = False
    crowd: bool = False


def read_table(path: Path, root: Path) -> Table:
    """Reads a CSV file.

    Args:
      root: the folder of all annotations.

    Raises:
      UserError: the file cannot be read or is not CSV.
    """
    remedy = "Give a CSV file in UTF-8"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            stripped = ([value.strip() for value in values] for values in reader)
            lines = [(reader.line_num, values) for values in stripped if any(values)]
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"is not a CSV file in UTF-8: {error}", remedy) from error
    return Table(path, subfolder_of(path, root), lines)


def group_rows(
    table: Table, rows: Iterable[Row], normalized: bool = False, fixes: tuple[str, ...] = ()
) -> list[RawAnnotation]:
    """Returns one annotation per image, in the order of their first rows.

    Args:
      normalized, fixes: see `RawAnnotation`. Faults of single rows are in its `faults`: "bad
        value", "bad coordinate", "not a row".
    """
    rows_by_image: dict[str, list[Row]] = {}
    for row in rows:
        rows_by_image.setdefault(row.filename.replace("\\", "/"), []).append(row)
    return [
        _read_image(table, filename, rows_of_image, normalized, fixes)
        for filename, rows_of_image in rows_by_image.items()
    ]


def _read_image(
    table: Table, filename: str, rows: Sequence[Row], normalized: bool, fixes: tuple[str, ...]
) -> RawAnnotation:
    path = table.path
    faults: list[FileFault] = []
    objects: list[RawBox] = []
    sizes: set[tuple[float, float]] = set()
    for row in rows:

        def report(kind: str, what: str, remedy: str, line: int = row.line) -> None:
            faults.append(FileFault(path, kind, f"line {line}: {what}", remedy))

        if row.surplus:
            what = f"has more values than columns: {quoted(row.surplus)}"
            report("not a row", what, "Put text that contains a comma in quotation marks")
        if not filename:
            report("not a row", "has no filename", "Write the file name of the image")
        width, height = (number(side or "0") for side in row.size)
        if width is None or height is None or min(width, height) < 0:
            what = f"its size is {quoted(row.size[0])} x {quoted(row.size[1])}"
            report("bad value", what, "Write the size of the image")
        elif width and height:
            sizes.add((width, height))
        if not any((row.name, *row.corners)):
            continue
        if not row.name:
            report("not a row", "has no class", "Write the class")
            continue
        xmin, ymin, xmax, ymax = map(number, row.corners)
        if xmin is None or ymin is None or xmax is None or ymax is None:
            what = f"the box is {quoted(', '.join(row.corners))}"
            report("bad coordinate", what, "Draw it again")
            continue
        box = Box(
            " ".join(row.name.split()),
            xmin,
            ymin,
            xmax,
            ymax,
            truncated=row.truncated,
            occluded=row.occluded,
            crowd=row.crowd,
        )
        objects.append(RawBox(f"line {row.line}", box))
    if len(sizes) > 1:
        listed = " and ".join(f"{width:g} x {height:g}" for width, height in sorted(sizes))
        what = f"{quoted(filename)}: its size is {listed}"
        faults.append(FileFault(path, "bad value", what, "Keep the correct one"))
    return RawAnnotation(
        source=path,
        filename=filename,
        objects=tuple(objects),
        subfolder=table.subfolder,
        size=sizes.pop() if len(sizes) == 1 else None,
        normalized=normalized,
        fixes=fixes,
        message_prefix=f"{quoted(filename)}: ",
        faults=tuple(faults),
    )
