"""Detects the format of annotations and selects its reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tfod.annotation import (
    coco,
    csv_file,
    csv_table,
    mot,
    open_images,
    retinanet,
    udacity,
    voc,
    yolo,
    yolo_names,
)
from tfod.annotation.csv_file import Table
from tfod.annotation.raw_annotation import RawAnnotation
from tfod.errors import UserError
from tfod.image_files import list_files

SUFFIXES = (".xml", ".json", ".csv", ".txt")
REMEDY = "Give a folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file"


@dataclass(frozen=True)
class AnnotationFiles:
    """Annotations that any process can read, one image at a time.

    Attributes:
      items: one item per image.
      read: returns the RawAnnotation of an item, or raises BadFilesError.
    """

    items: Sequence
    read: Callable[..., RawAnnotation]


def find_annotations(annotations: Path) -> AnnotationFiles:
    """Detects the format of `annotations`; the first match of this list is used.

    - PASCAL VOC: a folder with `.xml` files, subfolders included.
    - COCO: a `.json` file or a folder with `.json` files.
    - CSV of the OD API tutorials, Udacity, keras-retinanet or Open Images: a `.csv` file or a
      folder with `.csv` files.
    - MOT: a `gt.txt` file or a folder with `gt.txt` files.
    - YOLO: a folder with `.txt` files.

    Raises:
      UserError: there are no annotations in a known format, or a table cannot be read.
    """
    if annotations.is_file():
        by_suffix = {annotations.suffix.lower(): [annotations]}
        root = annotations.parent
    elif annotations.is_dir():
        by_suffix, root = {}, annotations
        for path in list_files(annotations, SUFFIXES):
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
    else:
        raise UserError(annotations, "does not exist", REMEDY)
    if annotations.is_dir() and ".xml" in by_suffix:
        return AnnotationFiles(by_suffix[".xml"], partial(voc.read_xml, root=root))
    if tables := [path for path in by_suffix.get(".json", ()) if not coco.is_manifest(path)]:
        return _from_tables(coco.read_json(path, root) for path in tables)
    if tables := by_suffix.get(".csv", []):
        return _from_tables(_read_csv_files([csv_file.read_table(path, root) for path in tables]))
    texts = by_suffix.get(".txt", [])
    if tables := [path for path in texts if mot.is_ground_truth(path)]:
        return _from_tables(mot.read_boxes(csv_file.read_table(path, root)) for path in tables)
    labels = [path for path in texts if yolo.is_label_file(path)]
    if annotations.is_dir() and labels:
        label_format = yolo_names.read_label_format(root)
        return AnnotationFiles(labels, partial(yolo.read_labels, label_format, root))
    raise UserError(annotations, "contains no annotations", REMEDY)


def _read_csv_files(tables: Sequence[Table]) -> Iterable[list[RawAnnotation]]:
    """Reads the tables with boxes; those that only accompany them are skipped."""
    with_boxes = [
        table
        for table in tables
        if not (retinanet.is_class_list(table) or open_images.has_no_boxes(table))
    ]
    for table in with_boxes or tables:
        for csv_format in (udacity, open_images, retinanet):
            if csv_format.matches(table):
                yield csv_format.read_boxes(table)
                break
        else:
            yield csv_table.read_boxes(table)


def _from_tables(tables: Iterable[list[RawAnnotation]]) -> AnnotationFiles:
    return AnnotationFiles([raw for table in tables for raw in table], _identity)


def _identity(raw: RawAnnotation) -> RawAnnotation:
    return raw
