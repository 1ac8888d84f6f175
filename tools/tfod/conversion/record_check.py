"""Checks a record that another program wrote, and adds what tfod needs.

The records are untrusted: all features that tfod or the OD API's decoder reads are checked. Other
features, such as masks and keypoints, are kept as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from google.protobuf.message import DecodeError

from tfod import images
from tfod.annotation import CORNERS, Annotation, Box
from tfod.annotation.box_check import check_box
from tfod.boxes import clip_xyxy
from tfod.dataset import records
from tfod.dataset.tf_example import Example
from tfod.errors import BadFilesError, FileFault, quoted

# The type of each feature that is read by tfod or by `TfExampleDecoder` of the OD API.
SINGLE = {
    "image/encoded": "bytes_list",
    "image/format": "bytes_list",
    "image/filename": "bytes_list",
    "image/source_id": "bytes_list",
    "image/key/sha256": "bytes_list",
    "image/height": "int64_list",
    "image/width": "int64_list",
}
PER_OBJECT = {
    **{f"image/object/bbox/{edge}": "float_list" for edge in CORNERS},
    "image/object/class/text": "bytes_list",
    "image/object/class/label": "int64_list",
    "image/object/area": "float_list",
    "image/object/weight": "float_list",
    "image/object/difficult": "int64_list",
    "image/object/truncated": "int64_list",
    "image/object/occluded": "int64_list",
    "image/object/is_crowd": "int64_list",
    "image/object/group_of": "int64_list",
    "image/object/view": "bytes_list",
}
PER_IMAGE = {
    "image/class/text": "bytes_list",
    "image/class/label": "int64_list",
    "image/class/confidence": "float_list",
    "image/neg_category_ids": "int64_list",
    "image/not_exhaustive_category_ids": "int64_list",
}
TYPES = {**SINGLE, **PER_OBJECT, **PER_IMAGE}
BOX = tuple(f"image/object/bbox/{edge}" for edge in CORNERS)
FRACTIONS = "Write fractions of width and height, or remove the object"
MAX_NAME = 240  # bytes: `tfod evaluate` makes file names of it

Report = Callable[[str, str, str], None]  # kind, what, remedy


@dataclass(frozen=True)
class LabelMap:
    """A label map.

    Attributes:
      classes: class names by id.
      ids: ids by all names that records may contain, see `label_map.read_names`.
    """

    classes: Mapping[int, str]
    ids: Mapping[str, int]


@dataclass(frozen=True)
class CheckedRecord:
    """A record without faults.

    Attributes:
      number: of the record in its file, from 1.
      data: the serialized Example; unchanged if no feature had to be changed.
      annotation: its boxes in pixels. `source` is the TFRecord file, and `digest` is the SHA-256 of
        the image as it was.
      changed: names of the features that were added or changed.
    """

    number: int
    data: bytes
    annotation: Annotation
    changed: tuple[str, ...]


def check_record(
    data: bytes, source: Path, number: int, other_id: str, label_map: LabelMap
) -> CheckedRecord:
    """Checks one record and adds missing features.

    Added without guessing: the size, format and SHA-256 from the image; `source_id` from the file
    name; `class/text` and `class/label` from each other. `difficult`, `truncated` and `is_crowd`
    may be missing; all readers use 0 then. A box that crosses the edge by at most one pixel is
    clipped. The image is re-encoded if the OD API cannot decode it, and rotated if its size is that
    in the record only after its EXIF orientation is applied.

    Args:
      data: the serialized Example.
      source: the TFRecord file, for messages.
      number: of the record in the file, from 1, for messages.
      other_id: the `source_id` if the record has neither this nor a file name.

    Raises:
      BadFilesError: all faults, each a `FileFault` of one of the kinds "not an Example",
        "bad feature", "no image", "image unreadable", "size differs", "bad name",
        "lists differ", "unknown class", "class differs", "bad coordinate", "box outside",
        "box without area".
    """
    faults: list[FileFault] = []
    name = ""

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(source, kind, f"record {number}{name}: {what}", remedy))

    features = _parse(data)
    if features is None:
        what = "is not a tf.train.Example"
        report("not an Example", what, "Give records of the Object Detection API")
        raise BadFilesError(source, faults)
    _check_types(features, report)
    if faults:
        raise BadFilesError(source, faults)
    source_id = _complete_names(features, other_id, report)
    name = f" ({quoted(source_id)})"
    image = _check_image(features, report)
    fixes = _check_objects(features, label_map, image, report)
    if faults or image is None:
        raise BadFilesError(source, faults)
    if features.changed or features.size != len(data):  # it contained a feature twice, for example
        data = features.serialize()
    annotation = dataclasses.replace(
        records.read_example(data, source).annotation,
        digest=image.digest,
        fixes=(*image.fixes, *fixes),
    )
    return CheckedRecord(number, data, annotation, tuple(features.changed))


class _Features:
    """The features of an Example.

    Attributes:
      size: of the serialized Example in bytes, before any change.
      changed: names of the features that `replace` changed.
    """

    def __init__(self, example: Example) -> None:
        self._example = example
        self.size = example.ByteSize()
        self.changed: dict[str, None] = {}

    def type_of(self, name: str) -> str | None:
        """Returns "bytes_list", "int64_list" or "float_list"; None if the feature is missing."""
        # `feature[name]` would add it.
        feature = self._example.features.feature.get(name)
        return None if feature is None else feature.WhichOneof("kind")

    def values(self, name: str) -> Sequence:
        """Returns the values of a feature of `TYPES`; none if it is missing."""
        if self.type_of(name) is None:
            return ()
        return getattr(self._example.features.feature[name], TYPES[name]).value

    def replace(self, name: str, values: Sequence) -> None:
        """Sets the values of a feature of `TYPES`."""
        if list(values) != list(self.values(name)):
            getattr(self._example.features.feature[name], TYPES[name]).value[:] = values
            self.changed[name] = None

    def serialize(self) -> bytes:
        return self._example.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class _Image:
    """The size of an image in pixels, the SHA-256 of its bytes, and `Annotation.fixes`."""

    width: int
    height: int
    digest: bytes
    fixes: tuple[str, ...]


def _parse(data: bytes) -> _Features | None:
    """Returns the features of a serialized Example; None if it is not one."""
    try:
        example = Example.FromString(data)
    except DecodeError:
        return None
    features = _Features(example)
    # TensorFlow reads no Example with other fields. They also show that a record is damaged.
    example.DiscardUnknownFields()
    return features if example.ByteSize() == features.size else None


def _check_types(features: _Features, report: Report) -> None:
    """Reports features of the wrong type, or with several values instead of one."""
    remedy = "Write it like create_pascal_tf_record.py of the Object Detection API"
    for name, expected in TYPES.items():
        actual = features.type_of(name)
        if actual not in (None, expected):
            report("bad feature", f"{name} has the type {actual} instead of {expected}", remedy)
        elif name in SINGLE and len(features.values(name)) > 1:
            count = len(features.values(name))
            report("bad feature", f"{name} has {count} values instead of one", remedy)
    if not any(features.values("image/encoded")):
        what = "contains no image: image/encoded is missing or empty"
        report("no image", what, "Export the records with their images")


def _complete_names(features: _Features, other_id: str, report: Report) -> str:
    """Checks and returns the `source_id`, which is the file name if it is missing."""

    def text(name: str) -> str:
        # Bytes that are not Unicode are written as escapes, like those of file names.
        return "".join(value.decode(errors="backslashreplace") for value in features.values(name))

    filename = text("image/filename")
    source_id = text("image/source_id") or filename or other_id
    base = PurePosixPath(source_id).name
    if any(ord(character) < 32 for character in source_id) or len(base.encode()) > MAX_NAME:
        what = f"its image/source_id {quoted(source_id)} is not the name of an image"
        report("bad name", what, "Write the file name of the image")
    features.replace("image/source_id", [source_id.encode()])
    features.replace("image/filename", [(filename or base).encode()])
    return source_id


def _check_image(features: _Features, report: Report) -> _Image | None:
    """Checks the image, and completes its size, format and SHA-256; returns None after a fault."""
    (data,) = features.values("image/encoded")
    written = (*features.values("image/width"), *features.values("image/height"))
    try:
        header = images.check_image(data)
        rotate = written == header.upright != header.stored
        if len(written) == 2 and written != header.stored and not rotate:
            what = f"its size is {written[0]} x {written[1]}, but the image is "
            what += f"{header.stored[0]} x {header.stored[1]}"
            report("size differs", what, "Write the record with the image that was annotated")
            return None
        encoded = images.EncodedImage(data, header.training_format or b"", *header.stored)
        digest = header.digest
        if rotate or not header.training_format:
            encoded = images.encode_for_training(data, rotate)
            digest = hashlib.sha256(encoded.data).digest()
    except FileFault as fault:
        report(fault.kind, f"image/encoded {fault.what}", fault.remedy)
        return None
    features.replace("image/encoded", [encoded.data])
    features.replace("image/format", [encoded.format])
    features.replace("image/key/sha256", [digest.hex().encode()])
    features.replace("image/width", [encoded.width])
    features.replace("image/height", [encoded.height])
    # As in `raw_annotation.check_annotation`, but the OD API has always read the stored pixels.
    is_unclear = len(written) < 2 or header.stored == header.upright
    fixes = ("orientation ignored",) if header.orientation != 1 and is_unclear else ()
    return _Image(encoded.width, encoded.height, header.digest, fixes)


def _check_objects(
    features: _Features, label_map: LabelMap, image: _Image | None, report: Report
) -> tuple[str, ...]:
    """Checks the objects, completes their classes and clips their boxes.

    Args:
      image: None to skip the checks that depend on the image size.

    Returns:
      The fixes, see `Annotation.fixes`.
    """
    lengths = {name: len(features.values(name)) for name in PER_OBJECT}
    count = lengths[BOX[0]]
    for name, length in lengths.items():
        # All but the corners may be missing.
        if length != count and (length or name in BOX):
            what = f"{BOX[0]} has {count} values, but {name} has {length}"
            report("lists differ", what, "Write one value per object")
            return ()
    for view in features.values("image/object/view"):
        try:
            view.decode()
        except UnicodeDecodeError:
            report("bad feature", "image/object/view is not UTF-8", "Write it in UTF-8")
    if not all(0 <= weight < math.inf for weight in features.values("image/object/weight")):
        what = "image/object/weight has a value that is negative or not finite"
        report("bad feature", what, "Write weights from 0")
    classes = _complete_classes(features, count, label_map, report)
    return _check_boxes(features, classes, image, report)


def _complete_classes(
    features: _Features, count: int, label_map: LabelMap, report: Report
) -> list[str]:
    """Checks the class names and ids of the objects, and completes one from the other.

    Returns:
      The names for messages.
    """
    texts = [
        text.decode(errors="backslashreplace")
        for text in features.values("image/object/class/text")
    ]
    written_ids = features.values("image/object/class/label")
    if count and not texts and not written_ids:
        what = "its objects have no class: image/object/class/text and label are missing"
        report("unknown class", what, "Write the class of each object")
        return [""] * count
    ids = [label_map.ids.get(text, 0) for text in texts] or list(written_ids)
    names = [label_map.classes.get(class_id, "") for class_id in ids]
    remedy = "Give the label map with which the records were written"
    for index, name in enumerate(names):
        what = f"class {quoted(texts[index])}" if texts else f"class id {ids[index]}"
        if not name:
            what += f" of object {index + 1} is not in the label map"
            report("unknown class", what, remedy)
        elif written_ids and written_ids[index] != ids[index]:
            what += f" of object {index + 1} has the id {written_ids[index]}, but {ids[index]} "
            what += "in the label map"
            report("class differs", what, remedy)
    features.replace("image/object/class/text", [name.encode() for name in names])
    features.replace("image/object/class/label", ids)
    return texts or names


def _check_boxes(
    features: _Features, classes: Sequence[str], image: _Image | None, report: Report
) -> tuple[str, ...]:
    """Checks the boxes, and clips those that cross the edge of the image by at most one pixel.

    Returns:
      One "box clipped" for each of these boxes, except after errors of rounding.
    """
    columns = [list(features.values(name)) for name in BOX]
    fixes: list[str] = []
    for index, name in enumerate(classes):
        box = tuple(column[index] for column in columns)
        label = f"object {index + 1} {quoted(name)}"
        if not all(map(math.isfinite, box)):
            what = f"{label} is at {', '.join(f'{edge:g}' for edge in box)}"
            report("bad coordinate", what, "Write finite numbers, or remove the object")
            continue
        size = (image.width, image.height) if image else None
        _, box_faults, box_fixes = check_box(Box(name, *box), label, size, normalized=True)
        for fault in box_faults:
            is_outside = fault.kind == "box outside"
            report(
                fault.kind, fault.what, FRACTIONS if is_outside else "Draw it again, or remove it"
            )
        if not box_faults:
            fixes += box_fixes
            xmin, ymin, xmax, ymax = box
            clipped = clip_xyxy(xmin, ymin, xmax, ymax, 1, 1)
            for column, edge in zip(columns, clipped, strict=True):
                column[index] = edge
    for feature, column in zip(BOX, columns, strict=True):
        features.replace(feature, column)
    return tuple(fixes)
