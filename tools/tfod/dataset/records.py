"""Annotation and picture bytes <-> `tf.train.Example`, and TFRecord shards of them.

The features are those of the OD API's `create_pascal_tf_record.py`: its input pipeline reads our
records, and `read_records` reads its. TensorFlow is not loaded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.annotation import Annotation, Box
from tfod.boxes import normalized_to_pixel_xyxy, pixel_to_normalized_xyxy
from tfod.dataset import tfrecord
from tfod.dataset.tf_example import Example
from tfod.images import EncodedImage

EDGES = ("xmin", "ymin", "xmax", "ymax")
SHARD_BYTES = 128 << 20  # large enough to read in one go, small enough to shuffle by


@dataclass(frozen=True)
class Record:
    """One picture of a data set.

    Attributes:
      annotation: its boxes, in pixels; `source` is the shard, `source_id` is unique in a data set,
        and `image` is the same as a path.
      image: its bytes.
    """

    annotation: Annotation
    image: EncodedImage


def make_example(
    annotation: Annotation,
    image: EncodedImage,
    class_ids: Mapping[str, int],
    digest: bytes | None = None,
) -> Example:
    """The Example of one picture.

    Boxes are divided by the size of the picture as they stand: float32, 0 at the left and top
    edge, 1 at the right and bottom one.

    Args:
      class_ids: label map ids by class name.
      digest: SHA-256 of `image.data` where it is known; None to compute it.
    """

    example = Example()
    features = example.features.feature

    # Filled in place: building each Feature first and then the map of them takes three times as
    # long. An empty list has to be set all the same.
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
        # A file name need not be Unicode; such bytes are written as escapes.
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
    for index, edge in enumerate(EDGES):
        floats(f"object/bbox/{edge}", *(corners[index] for corners in normalized))
    texts("object/class/text", *(box.name for box in boxes))
    ints("object/class/label", *(class_ids[box.name] for box in boxes))
    ints("object/difficult", *(int(box.difficult) for box in boxes))
    ints("object/truncated", *(int(box.truncated) for box in boxes))
    texts("object/view", *(box.pose for box in boxes))
    # `create_pascal_tf_record.py` does not know these; without them our bytes are its bytes.
    if any(box.occluded for box in boxes):
        ints("object/occluded", *(int(box.occluded) for box in boxes))
    if any(box.crowd for box in boxes):
        ints("object/is_crowd", *(int(box.crowd) for box in boxes))
    return example


def read_example(serialized: bytes, shard: Path) -> Record:
    """The picture and boxes of a serialized Example. The inverse of `make_example`.

    Boxes come out to a thousandth of a pixel, about what float32 keeps of them.
    """
    features = Example.FromString(serialized).features.feature

    def ints(key: str) -> Sequence[int]:
        return features[key].int64_list.value

    def texts(key: str) -> Sequence[bytes]:
        return features[key].bytes_list.value

    (width,), (height,) = ints("image/width"), ints("image/height")
    edges = (features[f"image/object/bbox/{edge}"].float_list.value for edge in EDGES)
    boxes_in_pixels = [
        [round(edge, 3) for edge in normalized_to_pixel_xyxy(*corners, width, height)]
        for corners in zip(*edges, strict=True)
    ]
    names = texts("image/object/class/text")

    def flags(name: str) -> list[bool]:
        # The OD API's own converters write some of them and not the others.
        return [bool(value) for value in ints(f"image/object/{name}")] or [False] * len(names)

    boxes = tuple(
        Box(name.decode(), *corners, *drawn, pose=pose.decode())
        for name, pose, corners, *drawn in zip(
            names,
            texts("image/object/view"),
            boxes_in_pixels,
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
    """File names such as `train-00000-of-00004.tfrecord`."""
    return [f"{split}-{index:05d}-of-{count:05d}.tfrecord" for index in range(count)]


def write_shard(path: Path, examples: Iterable[Example]) -> None:
    """Writes Examples to a TFRecord file, one at a time. The bytes depend on nothing else."""
    with path.open("wb") as file:
        for example in examples:
            # Maps have no order of their own.
            tfrecord.write_record(file, example.SerializeToString(deterministic=True))


def read_records(shards: Iterable[Path]) -> Iterator[Record]:
    """The records of TFRecord files, in order, one at a time.

    Raises:
      UserError: a shard is missing, cut off or damaged.
    """
    # Not by `tf.data`, which takes hold of the memory of every GPU, even where a training is
    # using it.
    for shard in shards:
        for serialized in tfrecord.read_file(shard):
            yield read_example(serialized, shard)
