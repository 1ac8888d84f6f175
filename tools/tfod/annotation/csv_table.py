"""Reads the CSV format of the OD API tutorials: one row per box, one `RawAnnotation` per image.

The columns are filename, width, height, class, xmin, ymin, xmax, ymax, in pixels, in any order.
Other columns are ignored. The `annotations.csv` of a data set has this format.
"""

from __future__ import annotations

import csv
from pathlib import Path

from tfod.annotation import CORNERS, Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number
from tfod.errors import FileFault, UserError, quoted

COLUMNS = ("filename", "width", "height", "class", *CORNERS)
REMEDY = f"Give a CSV with the columns {', '.join(COLUMNS)}"


def read_csv(path: Path) -> list[RawAnnotation]:
    """Reads one file; the images are in the order of their first rows.

    A row with neither class nor corners is an image without objects.

    Raises:
      UserError: the file cannot be read or lacks a column. Faults of a single row are in the
        `faults` of its image: "bad value", "bad coordinate", "not a row".
    """
    rows_by_image: dict[str, list[tuple[int, dict[str, str]]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(path, f"has no column {', '.join(missing)}", REMEDY)
            for row in table:
                texts = {name: (row[name] or "").strip() for name in COLUMNS}
                rows_by_image.setdefault(texts["filename"], []).append((table.line_num, texts))
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"is not a CSV file in UTF-8: {error}", REMEDY) from error
    return [_read_image(path, filename, rows) for filename, rows in rows_by_image.items()]


def _read_image(path: Path, filename: str, rows: list[tuple[int, dict[str, str]]]) -> RawAnnotation:
    faults: list[FileFault] = []
    objects: list[RawBox] = []
    sizes: set[tuple[float, float]] = set()
    for line, row in rows:

        def report(kind: str, what: str, remedy: str, line: int = line) -> None:
            faults.append(FileFault(path, kind, f"line {line}: {what}", remedy))

        if not filename:
            report("not a row", "has no filename", "Write the file name of the image")
        width, height = number(row["width"] or "0"), number(row["height"] or "0")
        if width is None or height is None or min(width, height) < 0:
            what = f"its size is {quoted(row['width'])} x {quoted(row['height'])}"
            report("bad value", what, "Write the size of the image")
        elif width and height:
            sizes.add((width, height))
        texts = [row[name] for name in ("class", *CORNERS)]
        if not any(texts):
            continue
        if not row["class"]:
            report("not a row", "has no class", "Write the class")
            continue
        xmin, ymin, xmax, ymax = (number(row[edge]) for edge in CORNERS)
        if xmin is None or ymin is None or xmax is None or ymax is None:
            what = f"the box is {quoted(', '.join(texts[1:]))}"
            report("bad coordinate", what, "Draw it again")
            continue
        name = " ".join(row["class"].split())
        objects.append(RawBox(f"line {line}", Box(name, xmin, ymin, xmax, ymax)))
    if len(sizes) > 1:
        listed = " and ".join(f"{width:g} x {height:g}" for width, height in sorted(sizes))
        what = f"{quoted(filename)}: its size is {listed}"
        faults.append(FileFault(path, "bad value", what, "Keep the correct one"))
    name = filename.replace("\\", "/")
    return RawAnnotation(
        source=path,
        filename=name,
        objects=tuple(objects),
        likely_folders=(name.rpartition("/")[0],),
        size=sizes.pop() if len(sizes) == 1 else None,
        message_prefix=f"{quoted(filename)}: ",
        faults=tuple(faults),
    )
