"""Annotation and picture bytes <-> `tf.train.Example`, and TFRecord shards of them.

The features are those of the OD API's `create_pascal_tf_record.py`: its input pipeline reads our
records, and `read_records` reads its. TensorFlow is not loaded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod import tfrecord
from tfod.annotation import Annotation, Box
from tfod.images import EncodedImage
from tfod.tf_example import BytesList, Example, Feature, Features, FloatList, Int64List

SHARD_BYTES = 128 << 20  # large enough to read in one go, small enough to shuffle by


@dataclass(frozen=True)
class Record:
    """One picture of a data set.

    Attributes:
      source_id: the picture's path below the folder of pictures; unique in a data set.
      annotation: its boxes, in pixels; `source` is the shard and `image` the `source_id`.
      image: its bytes.
    """

    source_id: str
    annotation: Annotation
    image: EncodedImage


def make_example(
    annotation: Annotation, image: EncodedImage, class_ids: Mapping[str, int], source_id: str
) -> Example:
    """The Example of one picture.

    Boxes are divided by the size of the picture as they stand: float32, 0 at the left and top
    edge, 1 at the right and bottom one.

    Args:
      class_ids: label map ids by class name.
      source_id: unique in the data set.
    """

    def ints(*values: int) -> Feature:
        return Feature(int64_list=Int64List(value=values))

    def floats(*values: float) -> Feature:
        return Feature(float_list=FloatList(value=values))

    def blobs(*values: bytes) -> Feature:
        return Feature(bytes_list=BytesList(value=values))

    def texts(*values: str) -> Feature:
        # A file name need not be Unicode; such bytes are written as escapes.
        return blobs(*(value.encode(errors="backslashreplace") for value in values))

    boxes = annotation.objects
    return Example(
        features=Features(
            feature={
                "image/height": ints(image.height),
                "image/width": ints(image.width),
                "image/filename": texts(annotation.image.name),
                "image/source_id": texts(source_id),
                "image/key/sha256": texts(hashlib.sha256(image.data).hexdigest()),
                "image/encoded": blobs(image.data),
                "image/format": blobs(image.format),
                "image/object/bbox/xmin": floats(*(box.xmin / image.width for box in boxes)),
                "image/object/bbox/xmax": floats(*(box.xmax / image.width for box in boxes)),
                "image/object/bbox/ymin": floats(*(box.ymin / image.height for box in boxes)),
                "image/object/bbox/ymax": floats(*(box.ymax / image.height for box in boxes)),
                "image/object/class/text": texts(*(box.name for box in boxes)),
                "image/object/class/label": ints(*(class_ids[box.name] for box in boxes)),
                "image/object/difficult": ints(*(int(box.difficult) for box in boxes)),
                "image/object/truncated": ints(*(int(box.truncated) for box in boxes)),
                "image/object/view": texts(*(box.pose for box in boxes)),
            }
        )
    )


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
    across, down = (
        [
            [round(at * length, 3) for at in features[f"image/object/bbox/{edge}"].float_list.value]
            for edge in edges
        ]
        for edges, length in ((("xmin", "xmax"), width), (("ymin", "ymax"), height))
    )
    boxes = tuple(
        Box(name.decode(), xmin, ymin, xmax, ymax, bool(difficult), bool(truncated), pose.decode())
        for name, xmin, ymin, xmax, ymax, difficult, truncated, pose in zip(
            texts("image/object/class/text"),
            across[0],
            down[0],
            across[1],
            down[1],
            ints("image/object/difficult"),
            ints("image/object/truncated"),
            texts("image/object/view"),
            strict=True,
        )
    )
    source_id = texts("image/source_id")[0].decode()
    image = EncodedImage(texts("image/encoded")[0], texts("image/format")[0], width, height)
    return Record(source_id, Annotation(shard, Path(source_id), width, height, boxes), image)


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
