"""Tests `dataset.label_map` and `dataset.manifest`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.annotations import annotation
from tfod.conversion import checks
from tfod.dataset.label_map import read_label_map, write_label_map
from tfod.dataset.manifest import describe_split, load_dataset, write_manifest
from tfod.errors import FileFault, UserError


def test_written_label_map_is_read_by_tfod_and_the_od_api(tmp_path):
    from object_detection.utils import label_map_util

    path, classes = tmp_path / "map.pbtxt", {1: "crosswalk", 2: 'a "b" é', 7: "stop"}
    write_label_map(path, classes)
    assert read_label_map(path) == classes
    assert label_map_util.get_label_map_dict(str(path)) == {v: k for k, v in classes.items()}


def test_label_map_with_display_names_is_read(tmp_path):
    path = tmp_path / "mscoco.pbtxt"
    path.write_text(
        "item { name: '/m/0199g' id: 2 display_name: 'bicycle' }\n"
        "item { id: 0 name: 'background' }\n"
        "item { name: '/m/01g317' id: 1 display_name: 'person' }\n"
    )
    assert read_label_map(path) == {1: "person", 2: "bicycle"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("person\nbicycle\n", "is not a label map: "),
        ("", "contains no classes"),
        ("item { name: 'a' }", "class 'a' has the id 0"),
        ("item { id: 1 }", "the class with the id 1 has no name. Give an OD API label map such as"),
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "class 'b' or its id 1 occurs twice"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "class 'a' or its id 2 occurs twice"),
    ],
)
def test_invalid_label_map_is_reported(tmp_path, text, message):
    path = tmp_path / "map.pbtxt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_label_map(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.fixture
def converted(tmp_path) -> Path:
    """A data set with one empty shard."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train-00000-of-00001.tfrecord").touch()
    annotations = [annotation("a", "stop", "stop"), annotation("b")]
    split = describe_split(
        annotations, ["stop", "tram"], [folder / "train-00000-of-00001.tfrecord"]
    )
    fault = FileFault("c.xml", "broken XML", "is not well-formed XML", "Export it again")
    write_label_map(folder / "label_map.pbtxt", {1: "stop", 2: "tram"})
    write_manifest(
        folder,
        {"train": split},
        {"train": 1.0},
        3,
        remarks=checks.remarks(annotations, {"train": annotations}),
        skipped=[fault],
        unannotated=5,
    )
    return folder


def test_data_set_is_read_back(converted):
    data = load_dataset(converted)
    assert data.classes == {1: "stop", 2: "tram"}
    assert data.label_map == converted / "label_map.pbtxt"
    train = data.split("train")
    assert (train.images, train.negatives, train.objects) == (2, 1, 2)
    assert train.objects_per_class == {"stop": 2, "tram": 0}
    assert train.shards == (converted / "train-00000-of-00001.tfrecord",)
    manifest = json.loads((converted / "dataset.json").read_text())
    assert (manifest["seed"], manifest["split"]) == (3, {"train": 1.0})
    assert manifest["images_without_annotation"] == 5
    assert manifest["skipped"] == [
        {"file": "c.xml", "kind": "broken XML", "reason": "is not well-formed XML"}
    ]


def test_unknown_split_is_reported_with_the_existing_ones(converted):
    with pytest.raises(UserError, match="has no split 'test', only train"):
        load_dataset(converted).split("test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), "{}: is not a data set: it has no"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "{}/dataset.json: is damaged"),
        (lambda folder: (folder / "dataset.json").write_text("[]"), "{}/dataset.json: is damaged"),
        (
            lambda folder: (folder / "dataset.json").write_text('{"version": 99}'),
            "{}/dataset.json: was written by another version of tfod",
        ),
        (lambda folder: (folder / "label_map.pbtxt").unlink(), "{}/label_map.pbtxt: cannot be"),
        (
            lambda folder: (folder / "train-00000-of-00001.tfrecord").unlink(),
            "{}: lacks train-00000-of-00001.tfrecord. Run tfod convert or tfod adopt again.",
        ),
    ],
)
def test_damaged_data_set_is_reported(converted, damage, message):
    damage(converted)
    with pytest.raises(UserError) as caught:
        load_dataset(converted)
    assert str(caught.value).startswith(message.format(converted))


def test_missing_data_set_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none: is not a folder\. Give a folder that tfod convert"):
        load_dataset(tmp_path / "none")
