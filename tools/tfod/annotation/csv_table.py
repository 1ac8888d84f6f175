"""The CSV of the OD API's tutorials, a row a box -> a `RawAnnotation` a picture.

Its columns are filename, width, height, class, xmin, ymin, xmax, ymax, in pixels, in any order,
perhaps with others. The `annotations.csv` of a data set is such a file.
"""

from __future__ import annotations

import csv
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number
from tfod.errors import FileFault, UserError, quoted

CORNERS = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("filename", "width", "height", "class", *CORNERS)
REMEDY = f"Give a CSV with the columns {', '.join(COLUMNS)}"


def read_csv(path: Path) -> list[RawAnnotation]:
    """Reads one file, its pictures in the order of their first rows.

    A row with neither class nor corners is a picture without objects.

    Raises:
      UserError: it is no such file. What is wrong with one row is in the `faults` of its picture:
        "bad value", "bad coordinate", "not a row".
    """
    pictures: dict[str, list[tuple[int, dict[str, str]]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(path, f"has no column {', '.join(missing)}", REMEDY)
            for row in table:
                texts = {name: (row[name] or "").strip() for name in COLUMNS}
                pictures.setdefault(texts["filename"], []).append((table.line_num, texts))
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"is no CSV of UTF-8: {error}", REMEDY) from error
    return [_read_picture(path, filename, rows) for filename, rows in pictures.items()]


def _read_picture(
    path: Path, filename: str, rows: list[tuple[int, dict[str, str]]]
) -> RawAnnotation:
    faults: list[FileFault] = []
    objects, sizes = [], set()
    for line, row in rows:

        def report(kind: str, what: str, remedy: str, line: int = line) -> None:
            faults.append(FileFault(path, kind, f"line {line}: {what}", remedy))

        if not filename:
            report("not a row", "has no filename", "Name the picture")
        size = [number(row[side] or "0") for side in ("width", "height")]
        if None in size or min(size) < 0:
            what = f"its size is {quoted(row['width'])} x {quoted(row['height'])}"
            report("bad value", what, "Write the picture's size")
        elif all(size):
            sizes.add(tuple(size))
        texts = [row[name] for name in ("class", *CORNERS)]
        if not any(texts):
            continue
        if not row["class"]:
            report("not a row", "has no class", "Name its class")
            continue
        corners = [number(row[edge]) for edge in CORNERS]
        if None in corners:
            report("bad coordinate", f"the box is {quoted(', '.join(texts[1:]))}", "Draw it again")
            continue
        objects.append(RawBox(f"line {line}", Box(" ".join(row["class"].split()), *corners)))
    if len(sizes) > 1:
        said = " and ".join(f"{width:g} x {height:g}" for width, height in sorted(sizes))
        what = f"{quoted(filename)}: its size is {said}"
        faults.append(FileFault(path, "bad value", what, "Keep the right one"))
    name = filename.replace("\\", "/")
    return RawAnnotation(
        source=path,
        filename=name,
        objects=tuple(objects),
        beside=(name.rpartition("/")[0],),
        size=sizes.pop() if len(sizes) == 1 else None,
        where=f"{quoted(filename)}: ",
        faults=tuple(faults),
    )
