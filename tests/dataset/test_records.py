"""Tests `dataset.records`: byte for byte, and against TensorFlow and the OD API."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Annotation, Box
from tfod.annotation.raw_annotation import check_annotation
from tfod.annotation.voc import read_xml
from tfod.dataset.label_map import write_label_map
from tfod.dataset.records import make_example, read_example, read_records, write_shard
from tfod.errors import UserError
from tfod.image_files import list_images
from tfod.images import encode_for_training

CLASS_IDS = {"cross walk": 1, "stop": 2}
BOXES = (
    Box("stop", 10, 3, 20, 27.5, difficult=True, pose="Frontal"),
    Box("cross walk", 0, 0, 40, 30, truncated=True, crowd=True),
)


@pytest.fixture
def image(tmp_path) -> Path:
    return write_image(tmp_path / "deep/a.png")


def example_of(path: Path, *boxes: Box, source_id: str = "deep/a.png"):
    annotation = Annotation(path.with_suffix(".xml"), path, 40, 30, boxes, source_id)
    return make_example(annotation, encode_for_training(path), CLASS_IDS)


def test_example_has_the_features_of_the_od_api(image):
    features = example_of(image, *BOXES).features.feature
    data = image.read_bytes()

    def column(*values: float) -> list[float]:
        return [float(np.float32(value)) for value in values]

    assert {key: [*f.bytes_list.value, *f.int64_list.value, *f.float_list.value]
            for key, f in features.items()} == {
        "image/height": [30],
        "image/width": [40],
        "image/filename": [b"a.png"],
        "image/source_id": [b"deep/a.png"],
        "image/key/sha256": [hashlib.sha256(data).hexdigest().encode()],
        "image/encoded": [data],
        "image/format": [b"png"],
        "image/object/bbox/xmin": column(10 / 40, 0),
        "image/object/bbox/xmax": column(20 / 40, 1),
        "image/object/bbox/ymin": column(3 / 30, 0),
        "image/object/bbox/ymax": column(27.5 / 30, 1),
        "image/object/class/text": [b"stop", b"cross walk"],
        "image/object/class/label": [2, 1],
        "image/object/difficult": [1, 0],
        "image/object/truncated": [0, 1],
        "image/object/is_crowd": [0, 1],
        "image/object/view": [b"Frontal", b"Unspecified"],
    }  # fmt: skip


def test_example_is_identical_to_that_of_create_pascal_tf_record(tmp_path):
    from lxml import etree
    from object_detection.dataset_tools.create_pascal_tf_record import dict_to_tf_example
    from object_detection.utils import dataset_util

    write_image(tmp_path / "set/images/a.jpg")
    tags = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
    xml = write_xml(
        tmp_path / "a.xml",
        "<folder>set</folder>",
        voc_object("stop", (1, 2, 11, 12), tags),
        voc_object("cross walk", (0, 7, 40, 29), tags),
    )
    fields = dataset_util.recursive_parse_xml_to_dict(etree.fromstring(xml.read_bytes()))
    expected = dict_to_tf_example(fields["annotation"], str(tmp_path), CLASS_IDS, False, "images")

    annotation = check_annotation(read_xml(xml), list_images(tmp_path / "set/images"))
    actual = make_example(annotation, encode_for_training(annotation.image), CLASS_IDS)
    assert actual.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


def test_od_api_decoder_reads_an_example(tmp_path, image):
    import tensorflow as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    label_map = tmp_path / "map.pbtxt"
    write_label_map(label_map, {1: "cross walk", 2: "stop"})
    decoder = TfExampleDecoder(label_map_proto_file=str(label_map))
    decoded = decoder.decode(tf.constant(example_of(image, *BOXES).SerializeToString()))
    np.testing.assert_array_equal(decoded["image"], np.full((30, 40, 3), (200, 30, 60)))
    np.testing.assert_allclose(
        decoded["groundtruth_boxes"],
        [[3 / 30, 10 / 40, 27.5 / 30, 20 / 40], [0, 0, 1, 1]],
        rtol=1e-6,
    )
    assert decoded["groundtruth_classes"].numpy().tolist() == [2, 1]
    assert decoded["groundtruth_difficult"].numpy().tolist() == [True, False]
    assert decoded["groundtruth_is_crowd"].numpy().tolist() == [False, True]
    assert decoded["source_id"].numpy() == b"deep/a.png"

    negative = decoder.decode(tf.constant(example_of(image).SerializeToString()))
    assert negative["groundtruth_boxes"].shape == (0, 4)


def test_tensorflow_and_read_records_read_a_shard(tmp_path, image):
    import tensorflow as tf

    shard = tmp_path / "train.tfrecord"
    ids = [f"{number}.png" for number in range(7)]
    write_shard(shard, (example_of(image, *BOXES, source_id=name) for name in ids))
    dataset = tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()
    names = [
        tf.train.Example.FromString(data).features.feature["image/source_id"].bytes_list.value[0]
        for data in dataset
    ]
    assert names == [name.encode() for name in ids]
    records = list(read_records([shard, shard]))
    assert [record.annotation.source_id for record in records] == ids * 2
    assert records[0].image == encode_for_training(image)
    assert records[0].annotation.objects == BOXES


def test_example_without_optional_features_is_read(image):
    example = example_of(image, *BOXES)
    for name in ("difficult", "truncated", "view"):  # `create_coco_tf_record.py` omits them
        del example.features.feature[f"image/object/{name}"]
    record = read_example(example.SerializeToString(), image)
    assert record.annotation.objects == tuple(
        Box(box.name, *box.corners, crowd=box.crowd) for box in BOXES
    )


def test_shard_is_identical_to_that_of_tensorflow(tmp_path, image):
    import tensorflow as tf

    examples = [example_of(image, *BOXES), example_of(image)]
    write_shard(tmp_path / "actual", examples)
    with tf.io.TFRecordWriter(str(tmp_path / "expected")) as writer:
        for example in examples:
            tf_example = tf.train.Example.FromString(example.SerializeToString())
            writer.write(tf_example.SerializeToString(deterministic=True))
    assert (tmp_path / "actual").read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "is truncated"),
        (lambda data: data[:7], "is truncated"),
        (lambda data: data[:50] + b"?" + data[51:], "is damaged: a checksum does not match"),
        (lambda data: b"\xff" * 8 + data[8:], "is damaged or not a TFRecord file"),
        (lambda data: b"<annotation></annotation>", "is damaged or not a TFRecord file"),
    ],
)
def test_damaged_shard_is_reported(tmp_path, image, damage, message):
    shard = tmp_path / "val.tfrecord"
    write_shard(shard, [example_of(image)])
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(UserError, match=message):
        list(read_records([shard]))


def test_missing_shard_is_reported(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        list(read_records([tmp_path / "none.tfrecord"]))


def test_file_name_that_is_not_unicode_is_escaped(tmp_path):
    image = write_image(tmp_path / "a\udcff.png")
    features = example_of(image).features.feature
    assert features["image/filename"].bytes_list.value == [b"a\\udcff.png"]
