"""The formats that annotations come in: which one it is, and how its pictures are read."""

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
    """Annotations that can be read one picture after the other, in any process.

    Attributes:
      items: one a picture.
      read: gives the RawAnnotation of an item, or raises BadFilesError.
    """

    items: Sequence
    read: Callable[..., RawAnnotation]


def find_annotations(annotations: Path) -> AnnotationFiles:
    """Finds out what `annotations` is: the first of these that it holds.

    PASCAL VOC: a folder with `.xml` files, with its subfolders. COCO: a `.json` file, or a folder
    of them. The tutorials' CSV: a `.csv` file, or a folder of them. YOLO: a folder with `.txt`
    files.

    Raises:
      UserError: it is none of them, or one of its tables cannot be read.
    """
    remedy = "Name a folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file"
    if annotations.is_file():
        found = {annotations.suffix.lower(): [annotations]}
        root = annotations.parent
    elif annotations.is_dir():
        found, root = {}, annotations
        for path in list_files(annotations, (".xml", ".json", ".csv", ".txt")):
            found.setdefault(path.suffix.lower(), []).append(path)
    else:
        raise UserError(annotations, "is no folder or file", remedy)
    if annotations.is_dir() and ".xml" in found:
        return AnnotationFiles(found[".xml"], partial(voc.read_xml, root=root))
    if ".json" in found:
        return _of_tables([coco.read_json(path, root) for path in found[".json"]])
    if ".csv" in found:
        return _of_tables([csv_table.read_csv(path) for path in found[".csv"]])
    labels = [path for path in found.get(".txt", ()) if yolo.is_label_file(path)]
    if annotations.is_dir() and labels:
        return AnnotationFiles(labels, partial(yolo.read_labels, yolo.read_class_names(root), root))
    raise UserError(annotations, "holds no annotations", remedy)


def _of_tables(tables: list[list[RawAnnotation]]) -> AnnotationFiles:
    return AnnotationFiles([raw for table in tables for raw in table], _as_it_is)


def _as_it_is(raw: RawAnnotation) -> RawAnnotation:
    return raw
