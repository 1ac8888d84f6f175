"""Detects the format of annotations and selects its reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tfod.annotation import coco, csv_table, voc, yolo
from tfod.annotation.raw_annotation import RawAnnotation
from tfod.errors import UserError
from tfod.image_files import list_files


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
    - CSV of the OD API tutorials: a `.csv` file or a folder with `.csv` files.
    - YOLO: a folder with `.txt` files.

    Raises:
      UserError: there are no annotations in a known format, or a JSON or CSV file cannot be read.
    """
    remedy = "Give a folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file"
    if annotations.is_file():
        by_suffix = {annotations.suffix.lower(): [annotations]}
        root = annotations.parent
    elif annotations.is_dir():
        by_suffix, root = {}, annotations
        for path in list_files(annotations, (".xml", ".json", ".csv", ".txt")):
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
    else:
        raise UserError(annotations, "does not exist", remedy)
    if annotations.is_dir() and ".xml" in by_suffix:
        return AnnotationFiles(by_suffix[".xml"], partial(voc.read_xml, root=root))
    if ".json" in by_suffix:
        return _from_tables([coco.read_json(path, root) for path in by_suffix[".json"]])
    if ".csv" in by_suffix:
        return _from_tables([csv_table.read_csv(path) for path in by_suffix[".csv"]])
    labels = [path for path in by_suffix.get(".txt", ()) if yolo.is_label_file(path)]
    if annotations.is_dir() and labels:
        return AnnotationFiles(labels, partial(yolo.read_labels, yolo.read_class_names(root), root))
    raise UserError(annotations, "contains no annotations", remedy)


def _from_tables(tables: list[list[RawAnnotation]]) -> AnnotationFiles:
    return AnnotationFiles([raw for table in tables for raw in table], _identity)


def _identity(raw: RawAnnotation) -> RawAnnotation:
    return raw
