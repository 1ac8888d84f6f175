"""Writes the table of a data set: all boxes as CSV, for people and for `--split-by`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfod.annotation import Annotation, csv_table

COLUMNS = [*csv_table.COLUMNS, "split"]


def write_table(path: Path, parts: Mapping[str, Sequence[Annotation]]) -> None:
    """Writes one row per box, in pixels.

    An image without objects gets one row without class and box.
    """
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for split, part in parts.items():
            for annotation in sorted(part, key=lambda annotation: annotation.source_id.split("/")):
                image = (annotation.source_id, annotation.width, annotation.height)
                for box in annotation.objects:
                    # Integer coordinates are written without a decimal point.
                    corners = map(float, box.corners)
                    edges = (int(edge) if edge.is_integer() else edge for edge in corners)
                    table.writerow((*image, box.name, *edges, split))
                if not annotation.objects:
                    table.writerow((*image, "", "", "", "", "", split))
