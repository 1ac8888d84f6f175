"""Reads and writes label maps of the OD API: class names by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError

if TYPE_CHECKING:
    from object_detection.protos.string_int_label_map_pb2 import StringIntLabelMapItem

LABEL_MAP = "label_map.pbtxt"
REMEDY = "Give an OD API label map such as: item { id: 1 name: 'stop' }"


def read_label_map(path: Path) -> dict[int, str]:
    """Returns class names by id, ascending, from an OD API label map (`StringIntLabelMap` as text).

    As in the OD API, the class name is the `display_name` if there is one. The background, id 0, is
    skipped.

    Raises:
      UserError: the file is missing or is not a label map, a class has no name or no id, or a name
        or an id occurs twice.
    """
    classes: dict[int, str] = {}
    for item in _items(path):
        name = item.display_name or item.name
        if item.id == 0 and name == "background":
            continue
        if not name:
            raise UserError(path, f"the class with the id {item.id} has no name", REMEDY)
        if item.id < 1:
            what = f"class {name!r} has the id {item.id}"
            raise UserError(path, what, "Number the classes from 1")
        if item.id in classes or name in classes.values():
            raise UserError(path, f"class {name!r} or its id {item.id} occurs twice", REMEDY)
        classes[item.id] = name
    if not classes:
        raise UserError(path, "contains no classes", REMEDY)
    return dict(sorted(classes.items()))


def label_lines(classes: Mapping[int, str]) -> list[str]:
    """Returns the lines of a label file, in which line N is the class with the id N.

    Ids that the label map skips are `???`, as in TensorFlow's label files for COCO.
    """
    return [classes.get(class_id, "???") for class_id in range(1, max(classes) + 1)]


def read_names(path: Path) -> dict[str, int]:
    """Returns class ids by every name that records may contain: `display_name` and `name`.

    The OD API's decoder accepts both. A name that is the `display_name` of one class and the `name`
    of another is that of the first.

    Raises:
      UserError: see `read_label_map`.
    """
    classes = read_label_map(path)
    names = {item.name: item.id for item in _items(path) if item.name and item.id in classes}
    return names | {name: class_id for class_id, name in classes.items()}


def _items(path: Path) -> Sequence[StringIntLabelMapItem]:
    """Returns the entries of a label map, unchecked.

    Raises:
      UserError: the file is missing or is not a label map.
    """
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    try:
        text = path.read_text(encoding="utf-8-sig")
        return text_format.Parse(text, string_int_label_map_pb2.StringIntLabelMap()).item
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(path, f"is not a label map: {error}", REMEDY) from error


def write_label_map(path: Path, classes: Mapping[int, str]) -> None:
    """Writes class names by id as an OD API label map."""
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    label_map = string_int_label_map_pb2.StringIntLabelMap()
    for class_id, name in classes.items():
        label_map.item.add(id=class_id, name=name)
    text = text_format.MessageToString(label_map, as_utf8=True)
    path.write_text(text, encoding="utf-8")
