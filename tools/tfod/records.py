"""Annotation and picture bytes <-> `tf.train.Example`, and TFRecord shards of them.

The features are those of the OD API's `create_pascal_tf_record.py`: its input pipeline reads our
records, and `read_records` reads its.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.annotation import Annotation, Box
from tfod.errors import UserError
from tfod.images import EncodedImage

if TYPE_CHECKING:
    import tensorflow as tf

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
) -> tf.train.Example:
    """The Example of one picture.

    Boxes are divided by the size of the picture as they stand: float32, 0 at the left and top
    edge, 1 at the right and bottom one.

    Args:
      class_ids: label map ids by class name.
      source_id: unique in the data set.
    """
    import tensorflow as tf

    def ints(*values: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(*values: float) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def blobs(*values: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def texts(*values: str) -> tf.train.Feature:
        # A file name need not be Unicode; such bytes are written as escapes.
        return blobs(*(value.encode(errors="backslashreplace") for value in values))

    boxes = annotation.objects
    return tf.train.Example(
        features=tf.train.Features(
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
    import tensorflow as tf

    features = tf.train.Example.FromString(serialized).features.feature

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


def write_shards(
    folder: Path, split: str, examples: Iterable[tf.train.Example], count: int, shards: int
) -> list[Path]:
    """Writes Examples in the order given to shards of equal size, one record more or less.

    The bytes depend on the Examples alone. One Example is held at a time.

    Args:
      count: how many there are.
      shards: how many files, at most `count`.
    """
    import tensorflow as tf

    paths = [folder / name for name in shard_names(split, shards)]
    stream = iter(examples)
    for index, path in enumerate(paths):
        size = (index + 1) * count // shards - index * count // shards
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in itertools.islice(stream, size):
                writer.write(example.SerializeToString(deterministic=True))
    return paths


def read_records(shards: Iterable[Path]) -> Iterator[Record]:
    """The records of TFRecord files, in order, one at a time.

    Raises:
      UserError: a shard is missing or cut off.
    """
    # The file format by hand (length, its checksum, bytes, their checksum): `tf.data` would start
    # the runtime, which takes hold of the memory of every GPU, even where a training is using it.
    for shard in shards:
        try:
            with shard.open("rb") as file:
                while head := file.read(12):
                    length = int.from_bytes(head[:8], "little")
                    serialized = file.read(length + 4)
                    if len(serialized) < length + 4:
                        raise UserError(shard, "is cut off", "Run tfod convert again")
                    yield read_example(serialized[:length], shard)
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise UserError(shard, what, "Run tfod convert again") from error
