"""Writes TFRecord files as other programs do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tfod.dataset.records import write_shard
from tfod.dataset.tf_example import Example

LABEL_MAP = "item { id: 3 name: 'stop' } item { id: 7 name: 'tram' }"
SIZE = (40, 30)


def encoded(color: int = 0, kind: str = "JPEG", mode: str = "RGB", **options) -> bytes:
    """Returns an image file of 40 x 30 pixels in one color; options are those of `Image.save`."""
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (color, 90, 0)).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def foreign_record(name: str = "a.jpg", image: bytes | None = None, **changes) -> Example:
    """Returns a record as `generate_tfrecord.py` of the tutorials writes it, with two objects.

    Args:
      image: None for one that depends on the name.
      changes: lists by feature, named after the last part: `xmin`, `source_id`, `text`. None
        removes the feature.
    """
    features = {
        "image/height": [SIZE[1]],
        "image/width": [SIZE[0]],
        "image/filename": [name.encode()],
        "image/source_id": [name.encode()],
        "image/encoded": [image or encoded(sum(name.encode()) % 256)],
        "image/format": [b"jpg"],
        "image/object/bbox/xmin": [0.25, 0.0],
        "image/object/bbox/xmax": [0.5, 1.0],
        "image/object/bbox/ymin": [0.1, 0.0],
        "image/object/bbox/ymax": [0.9, 1.0],
        "image/object/class/text": [b"stop", b"tram"],
        "image/object/class/label": [3, 7],
    }
    paths = {path.rpartition("/")[2]: path for path in features}
    for key, values in changes.items():
        features[paths.get(key, key)] = values
    example = Example()
    for path, values in features.items():
        if values is not None:
            set_feature(example, path, values)
    return example


def set_feature(example: Example, path: str, values: Sequence) -> None:
    """Sets a feature, with the type of its first value. Without values it is a list of bytes."""
    kind = {int: "int64_list", float: "float_list"}.get(type(next(iter(values), b"")), "bytes_list")
    part = getattr(example.features.feature[path], kind)
    part.SetInParent()
    part.value[:] = values


def write_records(path: Path, *examples: Example | str) -> Path:
    """Writes a TFRecord file; a string is the name of a `foreign_record`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(
        path, (foreign_record(item) if isinstance(item, str) else item for item in examples)
    )
    return path


def write_label_map(path: Path, text: str = LABEL_MAP) -> Path:
    """Writes a label map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
