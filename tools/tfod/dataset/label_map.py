"""Reads and writes label maps of the OD API: class names by id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfod.errors import UserError

LABEL_MAP = "label_map.pbtxt"


def read_label_map(path: Path) -> dict[int, str]:
    """Returns class names by id, ascending, from an OD API label map (`StringIntLabelMap` as text).

    As in the OD API, the class name is the `display_name` if there is one. The background, id 0, is
    skipped.

    Raises:
      UserError: the file is missing or is not a label map, a class has no name or no id, or a name
        or an id occurs twice.
    """
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    remedy = "Give an OD API label map such as: item { id: 1 name: 'stop' }"
    try:
        text = path.read_text(encoding="utf-8-sig")
        items = text_format.Parse(text, string_int_label_map_pb2.StringIntLabelMap()).item
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(path, f"is not a label map: {error}", remedy) from error
    classes: dict[int, str] = {}
    for item in items:
        name = item.display_name or item.name
        if item.id == 0 and name == "background":
            continue
        if not name:
            raise UserError(path, f"the class with the id {item.id} has no name", remedy)
        if item.id < 1:
            what = f"class {name!r} has the id {item.id}"
            raise UserError(path, what, "Number the classes from 1")
        if item.id in classes or name in classes.values():
            raise UserError(path, f"class {name!r} or its id {item.id} occurs twice", remedy)
        classes[item.id] = name
    if not classes:
        raise UserError(path, "contains no classes", remedy)
    return dict(sorted(classes.items()))


def write_label_map(path: Path, classes: Mapping[int, str]) -> None:
    """Writes class names by id as an OD API label map."""
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    label_map = string_int_label_map_pb2.StringIntLabelMap()
    for class_id, name in classes.items():
        label_map.item.add(id=class_id, name=name)
    text = text_format.MessageToString(label_map, as_utf8=True)
    path.write_text(text, encoding="utf-8")
