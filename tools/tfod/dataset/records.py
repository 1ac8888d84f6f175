"""Converts annotation and image bytes to `tf.train.Example` and back, and reads and writes shards.

The features are those of the OD API's `create_pascal_tf_record.py`: the OD API's input pipeline
reads these records, and `read_records` reads the OD API's. This module does not load TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.annotation import CORNERS, Annotation, Box
from tfod.boxes import normalized_to_pixel_xyxy, pixel_to_normalized_xyxy
from tfod.dataset import tfrecord
from tfod.dataset.tf_example import Example
from tfod.images import EncodedImage

SHARD_BYTES = 128 << 20  # large enough for fast reading, small enough for shuffling shards


@dataclass(frozen=True)
class Record:
    """One image of a data set.

    Attributes:
      annotation: its boxes, in pixels. `source` is the shard, `source_id` is unique in a data set,
        and `image` is the `source_id` as a path.
      image: its encoded bytes.
    """

    annotation: Annotation
    image: EncodedImage


def make_example(
    annotation: Annotation,
    image: EncodedImage,
    class_ids: Mapping[str, int],
    digest: bytes | None = None,
) -> Example:
    """Returns the Example of one image.

    Boxes are divided by the image size without correction: float32, 0 at the left and top edge, 1
    at the right and bottom edge.

    Args:
      class_ids: label map ids by class name.
      digest: SHA-256 of `image.data` if it is known; None to compute it.
    """
    example = Example()
    features = example.features.feature

    # Fills the map in place: creating each Feature first takes three times as long. SetInParent
    # writes the feature even if its list is empty.
    def ints(key: str, *values: int) -> None:
        part = features[f"image/{key}"].int64_list
        part.SetInParent()
        part.value.extend(values)

    def floats(key: str, *values: float) -> None:
        part = features[f"image/{key}"].float_list
        part.SetInParent()
        part.value.extend(values)

    def blobs(key: str, *values: bytes) -> None:
        part = features[f"image/{key}"].bytes_list
        part.SetInParent()
        part.value.extend(values)

    def texts(key: str, *values: str) -> None:
        # A file name may contain bytes that are not Unicode; they are written as escapes.
        blobs(key, *(value.encode(errors="backslashreplace") for value in values))

    boxes = annotation.objects
    ints("height", image.height)
    ints("width", image.width)
    texts("filename", annotation.image.name)
    texts("source_id", annotation.source_id)
    texts("key/sha256", (digest or hashlib.sha256(image.data).digest()).hex())
    blobs("encoded", image.data)
    blobs("format", image.format)
    normalized = [
        pixel_to_normalized_xyxy(*box.corners, image.width, image.height) for box in boxes
    ]
    for index, edge in enumerate(CORNERS):
        floats(f"object/bbox/{edge}", *(corners[index] for corners in normalized))
    texts("object/class/text", *(box.name for box in boxes))
    ints("object/class/label", *(class_ids[box.name] for box in boxes))
    ints("object/difficult", *(int(box.difficult) for box in boxes))
    ints("object/truncated", *(int(box.truncated) for box in boxes))
    texts("object/view", *(box.pose for box in boxes))
    # `create_pascal_tf_record.py` does not write these two features. Without them, the bytes are
    # identical to those it writes.
    if any(box.occluded for box in boxes):
        ints("object/occluded", *(int(box.occluded) for box in boxes))
    if any(box.crowd for box in boxes):
        ints("object/is_crowd", *(int(box.crowd) for box in boxes))
    return example


def read_example(serialized: bytes, shard: Path) -> Record:
    """Returns the image and boxes of a serialized Example; the inverse of `make_example`.

    Coordinates are rounded to 0.001 pixels, about the precision of float32.
    """
    features = Example.FromString(serialized).features.feature

    def ints(key: str) -> Sequence[int]:
        return features[key].int64_list.value

    def texts(key: str) -> Sequence[bytes]:
        return features[key].bytes_list.value

    (width,), (height,) = ints("image/width"), ints("image/height")
    columns = [features[f"image/object/bbox/{edge}"].float_list.value for edge in CORNERS]
    corners_in_pixels = [
        normalized_to_pixel_xyxy(xmin, ymin, xmax, ymax, width, height)
        for xmin, ymin, xmax, ymax in zip(*columns, strict=True)
    ]
    names = texts("image/object/class/text")

    def flags(name: str) -> list[bool]:
        # The OD API's own converters write only some of them.
        return [bool(value) for value in ints(f"image/object/{name}")] or [False] * len(names)

    boxes = tuple(
        Box(
            name.decode(),
            round(xmin, 3),
            round(ymin, 3),
            round(xmax, 3),
            round(ymax, 3),
            difficult=difficult,
            truncated=truncated,
            occluded=occluded,
            crowd=crowd,
            pose=pose.decode(),
        )
        for name, (xmin, ymin, xmax, ymax), pose, difficult, truncated, occluded, crowd in zip(
            names,
            corners_in_pixels,
            texts("image/object/view") or [b"Unspecified"] * len(names),
            flags("difficult"),
            flags("truncated"),
            flags("occluded"),
            flags("is_crowd"),
            strict=True,
        )
    )
    source_id = texts("image/source_id")[0].decode()
    image = EncodedImage(texts("image/encoded")[0], texts("image/format")[0], width, height)
    return Record(Annotation(shard, Path(source_id), width, height, boxes, source_id), image)


def shard_names(split: str, count: int) -> list[str]:
    """Returns file names such as `train-00000-of-00004.tfrecord`."""
    return [f"{split}-{index:05d}-of-{count:05d}.tfrecord" for index in range(count)]


def write_shard(path: Path, examples: Iterable[Example]) -> None:
    """Writes Examples to a TFRecord file, one at a time. Equal Examples give equal bytes."""
    with path.open("wb") as file:
        for example in examples:
            # The order of a map is undefined unless serialization is deterministic.
            tfrecord.write_record(file, example.SerializeToString(deterministic=True))


def read_records(shards: Iterable[Path]) -> Iterator[Record]:
    """Yields the records of TFRecord files, in order, one at a time.

    Raises:
      UserError: a shard is missing, truncated or damaged.
    """
    # `tf.data` would reserve the memory of every GPU, even if a training is using it.
    for shard in shards:
        for serialized in tfrecord.read_file(shard):
            yield read_example(serialized, shard)
