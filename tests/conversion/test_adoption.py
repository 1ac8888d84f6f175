"""Tests `conversion.adoption`: TFRecord files of others become a data set, or are refused."""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import ExifTags, Image

from helpers.conversion import run
from helpers.files import contents
from helpers.foreign_records import (
    encoded,
    foreign_record,
    set_feature,
    write_label_map,
    write_records,
)
from tfod.cli import main
from tfod.conversion.adoption import adopt
from tfod.conversion.record_check import TYPES
from tfod.dataset import tfrecord
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.dataset.tf_example import Example
from tfod.errors import BadFilesError, UserError

NAN = math.nan


def adopt_records(folder: Path, *examples: Example | str, **options) -> Dataset:
    """Adopts one file of training records."""
    records = write_records(folder / "train.record", *examples)
    label_map = write_label_map(folder / "map.pbtxt", **options.pop("labels", {}))
    return adopt({"train": records}, folder / "data", label_map=label_map, **options)


def features_of(data: Dataset, split: str = "train") -> list[dict[str, list]]:
    """Returns the features of each record by name."""
    return [
        {
            name: [*feature.bytes_list.value, *feature.int64_list.value, *feature.float_list.value]
            for name, feature in Example.FromString(record).features.feature.items()
        }
        for shard in data.split(split).shards
        for record in tfrecord.read_file(shard)
    ]


def remarks_of(data: Dataset) -> dict[str, str]:
    return {remark.kind: remark.what for remark in data.remarks}


def test_shards_of_convert_are_adopted_unchanged(voc):
    original = run(voc, shards=3)
    before = contents(original.folder)
    data = adopt(original.folder, voc.parent / "adopted")
    assert contents(original.folder) == before
    adopted = contents(data.folder)
    assert adopted.keys() == before.keys()
    assert [name for name in before if adopted[name] != before[name]] == ["dataset.json"]
    manifests = [json.loads(files["dataset.json"]) for files in (before, adopted)]
    for key in ("splits", "version", "remarks", "skipped"):
        assert manifests[1][key] == manifests[0][key]


def test_records_of_the_tutorials_are_adopted(tmp_path):
    train = write_records(tmp_path / "train.record", "a.jpg", "b.jpg")
    test = write_records(tmp_path / "test.record", "c.jpg")
    label_map = write_label_map(tmp_path / "label_map.pbtxt")
    data = adopt({"test": test, "train": train}, tmp_path / "data", label_map=label_map)
    assert data.classes == {3: "stop", 7: "tram"}
    assert list(data.splits) == ["train", "test"]
    assert data.split("train").images == 2
    assert data.split("train").objects_per_class == {"stop": 2, "tram": 2}
    train.unlink()  # the data set does not need the original
    records = list(read_records(data.split("train").shards))
    assert [record.annotation.source_id for record in records] == ["a.jpg", "b.jpg"]
    assert [box.corners for box in records[0].annotation.objects] == [
        (10, 3, 20, 27),
        (0, 0, 40, 30),
    ]
    assert (data.folder / "annotations.csv").read_text().splitlines()[:2] == [
        "filename,width,height,class,xmin,ymin,xmax,ymax,split",
        "a.jpg,40,30,stop,10,3,20,27,train",
    ]
    assert remarks_of(data) == {
        "record changed": "records completed or corrected: 3 of 3 (image/format in 3, "
        "image/key/sha256 in 3)"
    }


# What is wrong with a record, the changes, the kind of fault, and a part of the message.
FAULTS = [
    ("no image", {"encoded": None}, "no image", "contains no image"),
    ("an empty image", {"encoded": [b""]}, "no image", "contains no image"),
    ("text as an image", {"encoded": [b"see attachment"]}, "image unreadable",
     "image/encoded is not a readable image"),
    ("a truncated image", {"encoded": [encoded()[:-200]]}, "image unreadable",
     "image/encoded cannot be decoded"),
    ("two images", {"encoded": [encoded(), encoded()]}, "bad feature",
     "image/encoded has 2 values instead of one"),
    ("another size", {"width": [400]}, "size differs",
     "its size is 400 x 30, but the image is 40 x 30"),
    ("width and height swapped", {"width": [30], "height": [40]}, "size differs", "is 30 x 40"),
    ("a size as text", {"width": [b"40"]}, "bad feature",
     "image/width has the type bytes_list instead of int64_list"),
    ("a name as a number", {"source_id": [7]}, "bad feature",
     "image/source_id has the type int64_list"),
    ("integer corners", {"xmin": [0, 0]}, "bad feature", "xmin has the type int64_list"),
    ("difficult as text", {"image/object/difficult": [b"0", b"1"]}, "bad feature", "difficult"),
    ("a line break in the name", {"source_id": [b"a\nb"]}, "bad name", r"'a\nb' is not the name"),
    ("a null byte in the name", {"source_id": [b"a\0b"]}, "bad name", "is not the name"),
    ("a very long name", {"source_id": [b"x" * 300]}, "bad name", "is not the name of an image"),
    ("a corner list too short", {"xmax": [0.5]}, "lists differ",
     "image/object/bbox/xmin has 2 values, but image/object/bbox/xmax has 1"),
    ("no ymax", {"ymax": None}, "lists differ", "ymax has 0"),
    ("a class too few", {"text": [b"stop"]}, "lists differ", "class/text has 1"),
    ("an id too many", {"label": [3, 7, 7]}, "lists differ", "class/label has 3"),
    ("a flag too few", {"image/object/is_crowd": [1]}, "lists differ", "is_crowd has 1"),
    ("objects without boxes", {key: None for key in ("xmin", "ymin", "xmax", "ymax")},
     "lists differ", "xmin has 0 values, but image/object/class/text has 2"),
    ("an unknown class", {"text": [b"bus", b"tram"]}, "unknown class",
     "class 'bus' of object 1 is not in the label map"),
    ("a class that is not UTF-8", {"text": [b"\xff", b"tram"]}, "unknown class", "xff"),
    ("an unknown id", {"text": None, "label": [3, 4]}, "unknown class",
     "class id 4 of object 2 is not in the label map"),
    ("the id 0", {"text": None, "label": [0, 3]}, "unknown class", "class id 0 of object 1"),
    ("neither class nor id", {"text": None, "label": None}, "unknown class", "have no class"),
    ("the id of another class", {"label": [7, 7]}, "class differs",
     "class 'stop' of object 1 has the id 7, but 3 in the label map"),
    ("a corner in pixels", {"xmax": [20.0, 1.0]}, "box outside",
     "object 1 'stop' at 10, 3, 800, 27 extends outside the image of 40 x 30"),
    ("a negative corner", {"ymin": [-0.1, 0.0]}, "box outside", "at 10, -3, 20, 27"),
    ("a box beyond the edge", {"xmin": [1.0, 0.0], "xmax": [1.01, 1.0]}, "box without area",
     "is beyond the edge of the image of 40 x 30"),
    ("left and right swapped", {"xmin": [0.6, 0.0]}, "box without area",
     "object 1 'stop' extends from x 0.6 to 0.5"),
    ("no height", {"ymin": [0.9, 0.0]}, "box without area", "from y 0.9 to 0.9"),
    ("a corner without a number", {"ymin": [0.1, NAN]}, "bad coordinate", "object 2 'tram' is at"),
    ("an infinite corner", {"xmax": [math.inf, 1.0]}, "bad coordinate", "inf"),
    ("a weight without a number", {"image/object/weight": [NAN, 1.0]}, "bad feature", "weight"),
    ("a pose that is not UTF-8", {"image/object/view": [b"\xff", b"Left"]}, "bad feature", "view"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "kind", "message"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS]
)
def test_fault_of_a_record_is_reported_in_one_line(tmp_path, changes, kind, message):
    examples = ["good.jpg", foreign_record("bad.jpg", **changes)]
    with pytest.raises(BadFilesError) as caught:
        adopt_records(tmp_path, *examples)
    (fault,) = caught.value.errors
    line = str(fault)
    assert fault.kind == kind
    assert line.startswith(f"{tmp_path / 'train.record'}: record 2")
    assert message in line
    assert len(line.splitlines()) == 1 and len(line) < 500 and line.endswith(".")
    assert f"1 unusable file (1 {kind})" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.pbtxt", "train.record"]
    # With --skip-bad the other record is used.
    data = adopt_records(tmp_path, *examples, skip_bad=True)
    assert [features["image/filename"] for features in features_of(data)] == [[b"good.jpg"]]
    assert remarks_of(data)["skipped"].startswith(f"1 of 2 records (50.0%) were skipped: 1 {kind}")
    (skipped,) = json.loads((data.folder / "dataset.json").read_text())["skipped"]
    assert skipped["kind"] == kind and skipped["reason"] == fault.what


def test_all_faults_are_reported_with_the_name_of_the_image(tmp_path):
    bad = foreign_record("bad.jpg", xmin=[0.7, 0.0], text=[b"stop", b"bus"], width=[9])
    with pytest.raises(BadFilesError) as caught:
        adopt_records(tmp_path, bad, foreign_record("b.jpg", label=[3, 3]))
    assert [(error.what.split(":")[0], error.kind) for error in caught.value.errors] == [
        ("record 1 ('bad.jpg')", "size differs"),
        ("record 1 ('bad.jpg')", "unknown class"),
        ("record 1 ('bad.jpg')", "box without area"),
        ("record 2 ('b.jpg')", "class differs"),
    ]


def test_other_messages_are_not_examples(tmp_path):
    path = tmp_path / "train.record"
    example = foreign_record().SerializeToString()
    with path.open("wb") as file:
        tfrecord.write_record(file, b"<annotation></annotation>")
        tfrecord.write_record(file, b"")
        tfrecord.write_record(file, example + b"\x3a\x01x")  # with a field of its own
        tfrecord.write_record(file, example + example)  # two messages become one
    with pytest.raises(BadFilesError) as caught:
        adopt({"train": path}, tmp_path / "data", label_map=write_label_map(tmp_path / "map.pbtxt"))
    assert [error.kind for error in caught.value.errors] == [
        "not an Example",
        "no image",
        "not an Example",
    ]


# What a record lacks, the changes, and features of the adopted record.
COMPLETED = [
    ("source_id", {"source_id": None}, {"source_id": [b"a.jpg"]}),
    ("an empty source_id", {"source_id": [b""]}, {"source_id": [b"a.jpg"]}),
    ("a source_id without value", {"source_id": []}, {"source_id": [b"a.jpg"]}),
    ("any name", {"source_id": None, "filename": None},
     {"source_id": [b"train-1"], "filename": [b"train-1"]}),
    ("the file name", {"source_id": [b"x/b.jpg"], "filename": None}, {"filename": [b"b.jpg"]}),
    ("Unicode", {"source_id": [b"a\xff"]}, {"source_id": [rb"a\xff"]}),
    ("the size", {"width": None, "height": None}, {"width": [40], "height": [30]}),
    ("the format", {"format": None}, {"format": [b"jpeg"]}),
    ("the true format", {"format": [b"raw"]}, {"format": [b"jpeg"]}),
    ("the checksum", {"key/sha256": None},
     {"key/sha256": [hashlib.sha256(encoded(1)).hexdigest().encode()]}),
    ("class names", {"text": None}, {"object/class/text": [b"stop", b"tram"]}),
    ("class ids", {"label": None}, {"object/class/label": [3, 7]}),
    ("the last pixel", {"xmax": [0.5, 1.02]}, {"object/bbox/xmax": [0.5, 1.0]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), [case[1:] for case in COMPLETED], ids=[case[0] for case in COMPLETED]
)
def test_what_is_missing_is_added(tmp_path, changes, expected):
    data = adopt_records(tmp_path, foreign_record("a.jpg", encoded(1), **changes))
    (features,) = features_of(data)
    assert {key: features[f"image/{key}"] for key in expected} == expected
    assert all(f"image/{key} in 1" in remarks_of(data)["record changed"] for key in expected)
    (record,) = read_records(data.split("train").shards)
    assert [box.name for box in record.annotation.objects] == ["stop", "tram"]


def test_records_without_names_are_numbered_across_files(tmp_path):
    for number in range(2):
        examples = [
            foreign_record(image=encoded(99 * number + color), source_id=None, filename=None)
            for color in (0, 50)
        ]
        write_records(tmp_path / f"train.record-0000{number}-of-00002", *examples)
    write_label_map(tmp_path / "map.pbtxt")
    names = [
        features["image/source_id"] for features in features_of(adopt(tmp_path, tmp_path / "d"))
    ]
    assert names == [[b"train-1"], [b"train-2"], [b"train-3"], [b"train-4"]]


def test_complete_records_keep_their_bytes_and_other_features(tmp_path):
    example = foreign_record("a.jpg", encoded(1), format=[b"jpeg"])
    digest = hashlib.sha256(encoded(1)).hexdigest().encode()
    set_feature(example, "image/key/sha256", [digest])
    set_feature(example, "image/object/mask", [b"PNG of object 1", b"PNG of object 2"])
    data = adopt_records(tmp_path, example)
    (shard,) = data.split("train").shards
    assert shard.read_bytes() == (tmp_path / "train.record").read_bytes()
    assert shard.stat().st_ino != (tmp_path / "train.record").stat().st_ino
    assert data.remarks == ()


def test_clipped_boxes_and_small_boxes_are_noted(tmp_path):
    data = adopt_records(tmp_path, foreign_record(xmax=[0.27, 1.02]))
    assert {"box clipped", "box tiny"} < remarks_of(data).keys()


def test_images_without_objects_are_negatives(tmp_path):
    nothing = dict.fromkeys(("xmin", "ymin", "xmax", "ymax", "text", "label"))
    empty_list = nothing | {"text": []}
    negatives = [foreign_record("b.jpg", **nothing), foreign_record("c.jpg", **empty_list)]
    data = adopt_records(tmp_path, "a.jpg", *negatives)
    assert (data.split("train").images, data.split("train").negatives) == (3, 2)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (encoded(kind="PNG"), b"png"),
        (encoded(kind="PNG", mode="RGBA"), b"png"),
        (encoded(kind="BMP"), b"png"),
        (encoded(kind="GIF"), b"png"),
        (encoded(kind="WEBP"), b"jpeg"),
        (encoded(mode="CMYK"), b"jpeg"),
    ],
)
def test_images_that_the_od_api_cannot_read_are_encoded_again(tmp_path, image, expected):
    data = adopt_records(tmp_path, foreign_record(image=image))
    (features,) = features_of(data)
    (stored,) = features["image/encoded"]
    assert features["image/format"] == [expected]
    assert features["image/key/sha256"] == [hashlib.sha256(stored).hexdigest().encode()]
    opened = Image.open(io.BytesIO(stored))
    assert opened.format == expected.decode().upper() and opened.mode == "RGB"


@pytest.mark.parametrize(
    ("orientation", "size", "rotated", "noted"),
    [
        (6, (30, 40), True, False),  # drawn on the rotated image
        (6, (40, 30), False, False),  # drawn on the stored pixels
        (3, (40, 30), False, True),
        (6, None, False, True),
    ],
)
def test_exif_orientation(tmp_path, orientation, size, rotated, noted):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    width, height = ([size[0]], [size[1]]) if size else (None, None)
    image = encoded(exif=exif)
    data = adopt_records(tmp_path, foreign_record(image=image, width=width, height=height))
    (features,) = features_of(data)
    (stored,) = features["image/encoded"]
    assert Image.open(io.BytesIO(stored)).size == ((30, 40) if rotated else (40, 30))
    assert (stored == image) != rotated
    assert ("orientation ignored" in remarks_of(data)) == noted


@pytest.mark.parametrize("text", [b"person", b"/m/01g317"])
def test_label_maps_with_display_names_and_gaps(tmp_path, text):
    labels = (
        "item { name: '/m/01g317' id: 1 display_name: 'person' }"
        "item { name: '/m/0199g' id: 90 display_name: 'bicycle' }"
    )
    example = foreign_record(text=[text, b"bicycle"], label=[1, 90])
    data = adopt_records(tmp_path, example, labels={"text": labels})
    assert data.classes == {1: "person", 90: "bicycle"}
    (features,) = features_of(data)
    assert features["image/object/class/text"] == [b"person", b"bicycle"]
    assert features["image/object/class/label"] == [1, 90]


@pytest.mark.parametrize(
    ("damage", "kind", "message", "left"),
    [
        (lambda data: data[:-1], "file damaged", "after record 2, it is truncated", 2),
        (lambda data: data[:5], "file damaged", "is truncated", 0),
        (lambda data: b"\x1f\x8b" + data, "file damaged", "is damaged or not a TFRecord file", 0),
        (lambda data: b"", "file empty", "contains no records", 0),
        (
            lambda data: data[:50] + b"?" + data[51:],
            "file damaged",
            "record 1 is damaged: a checksum does not match",
            2,
        ),
    ],
)
def test_damaged_files_are_reported(tmp_path, damage, kind, message, left):
    write_records(tmp_path / "train.record-00000-of-00002", "x.jpg")
    path = write_records(tmp_path / "train.record-00001-of-00002", "a.jpg", "b.jpg", "c.jpg")
    path.write_bytes(damage(path.read_bytes()))
    write_label_map(tmp_path / "map.pbtxt")
    with pytest.raises(BadFilesError) as caught:
        adopt(tmp_path, tmp_path / "data")
    (fault,) = caught.value.errors
    assert (fault.kind, str(fault)) == (
        kind,
        f"{path}: {message}. Download or write the file again.",
    )
    # With --skip-bad, all other records are used, and no shard is empty.
    data = adopt(tmp_path, tmp_path / "data", skip_bad=True)
    assert data.split("train").images == 1 + left
    assert len(data.split("train").shards) == (2 if left else 1)
    assert all(shard.stat().st_size for shard in data.split("train").shards)


@pytest.mark.parametrize(
    ("train", "val", "kind", "message"),
    [
        ([("a.jpg", 1), ("a.jpg", 2)], [("b.jpg", 3)], "name repeated",
         "record 2 ('a.jpg') has the same image/source_id as record 1 of "),
        ([("a.jpg", 1)], [("b.jpg", 3), ("a.jpg", 2)], "name repeated", "as record 1 of "),
        ([("a.jpg", 1)], [("b.jpg", 3), ("c.jpg", 1)], "image in two splits",
         "record 2 ('c.jpg') is in val, but the same image is record 1 of "),
    ],
)  # fmt: skip
def test_repeated_records_are_refused(tmp_path, train, val, kind, message):
    for split, part in (("train", train), ("val", val)):
        examples = [foreign_record(name, encoded(50 * color)) for name, color in part]
        write_records(tmp_path / f"{split}.record", *examples)
    write_label_map(tmp_path / "map.pbtxt")
    with pytest.raises(BadFilesError) as caught:
        adopt(tmp_path, tmp_path / "data")
    (fault,) = caught.value.errors
    assert fault.kind == kind and message in str(fault)


def test_equal_images_in_a_split_are_noted(tmp_path):
    examples = [foreign_record(name, encoded()) for name in ("a.jpg", "b.jpg")]
    data = adopt_records(tmp_path, *examples)
    assert remarks_of(data)["image repeated"].startswith("1 image is identical to another: b.jpg")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train/Signs.tfrecord", "valid/Signs.tfrecord", "test/Signs.tfrecord"],
         {"train": 1, "val": 1, "test": 1}),  # Roboflow
        (["train.record", "test.record"], {"train": 1, "test": 1}),
        (["coco_train.record-00000-of-00002", "coco_train.record-00001-of-00002",
          "coco_val.record-00000-of-00001"], {"train": 2, "val": 1}),
        (["train-00000-of-00001.tfrecord", "validation-00000-of-00001.tfrecord"],
         {"train": 1, "val": 1}),
        (["train/test-project.tfrecord", "valid/test-project.tfrecord", "._train.record"],
         {"train": 1, "val": 1}),
    ],
)  # fmt: skip
def test_splits_in_a_folder_are_found(tmp_path, files, expected):
    for number, file in enumerate(files):
        write_records(tmp_path / file, f"{number}.jpg")
        label_map = tmp_path / Path(file).with_name("Signs_label_map.pbtxt")
        write_label_map(label_map)
    data = adopt(tmp_path, tmp_path / "data")
    assert {name: len(split.shards) for name, split in data.splits.items()} == expected


@pytest.mark.parametrize(
    ("train", "count"),
    [
        ("train.record-00000-of-00002", 1),
        ("train.record-*", 2),
        ("train.record-?????-of-00002", 2),
        ("", 2),
    ],
)
def test_a_split_is_a_file_or_a_pattern_or_a_folder(tmp_path, train, count):
    for number in range(2):
        write_records(tmp_path / f"in/train.record-0000{number}-of-00002", f"{number}.jpg")
    label_map = write_label_map(tmp_path / "in/map.pbtxt")
    data = adopt({"train": tmp_path / "in" / train}, tmp_path / "data", label_map=label_map)
    assert len(data.split("train").shards) == count


def shards_missing(folder):
    write_records(folder / "train.record-00000-of-00003", "a.jpg")
    write_records(folder / "train.record-00002-of-00003", "b.jpg")


def other_label_map(folder):
    write_records(folder / "train/a.tfrecord", "a.jpg")
    write_label_map(folder / "train/a_label_map.pbtxt", "item { id: 1 name: 'stop' }")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "contains no TFRecord files, and no subfolder"),
        (lambda folder: write_records(folder / "signs.record", "a.jpg"),
         "has files whose names do not tell the split: signs.record. Give the files with --train, "
         "--val and --test."),
        (shards_missing, "has 2 of the 3 files of train.record: train.record-00001-of-00003 is "
         "missing. Add the missing files."),
        (other_label_map, "contains other classes than"),
    ],
)  # fmt: skip
def test_folders_that_are_unclear_are_refused(tmp_path, make, message):
    write_label_map(tmp_path / "map.pbtxt")
    make(tmp_path)
    with pytest.raises(UserError) as caught:
        adopt(tmp_path, tmp_path / "data")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("none.record", "does not exist. Give a TFRecord file"),
        ("none/*.record", "does not exist"),
        ("empty", "contains no TFRecord files"),
        (".", "contains files of several splits: test.record, train.record"),
        ("test.record", "is given for train and for test"),
    ],
)
def test_invalid_splits_are_refused(tmp_path, train, message):
    for split in ("train", "test"):
        write_records(tmp_path / f"{split}.record", f"{split}.jpg")
    (tmp_path / "empty").mkdir()
    label_map = write_label_map(tmp_path / "map.pbtxt")
    splits = {"train": tmp_path / train, "test": tmp_path / "test.record"}
    with pytest.raises(UserError) as caught:
        adopt(splits, tmp_path / "data", label_map=label_map)
    assert message in str(caught.value)


def test_a_split_without_good_records_and_a_set_without_objects_are_refused(tmp_path):
    with pytest.raises(UserError, match="none of the records of train can be used"):
        adopt_records(tmp_path, foreign_record(width=[9]), skip_bad=True)
    nothing = dict.fromkeys(("xmin", "ymin", "xmax", "ymax", "text", "label"))
    with pytest.raises(UserError, match="no record contains an object"):
        adopt_records(tmp_path, foreign_record(**nothing))


def test_the_folder_of_the_records_is_not_replaced(tmp_path):
    records = write_records(tmp_path / "in/train.record", "a.jpg")
    label_map = write_label_map(tmp_path / "map.pbtxt")
    with pytest.raises(UserError, match="would replace"):
        adopt({"train": records}, tmp_path / "in", label_map=label_map, overwrite=True)
    assert records.is_file()


def test_progress_is_in_bytes(tmp_path):
    calls = []
    adopt_records(tmp_path, "a.jpg", "b.jpg", progress=lambda *call: calls.append(call))
    size = (tmp_path / "train.record").stat().st_size
    done = [call[1] for call in calls]
    assert {(stage, total) for stage, _, total in calls} == {("adopt", size)}
    assert done == sorted(done) and done[0] == 0 and done[-1] == size


def test_command_line(tmp_path):
    write_records(tmp_path / "signs/train/Signs.tfrecord", "a.jpg")
    write_label_map(tmp_path / "signs/train/Signs_label_map.pbtxt")
    arguments = ["adopt", str(tmp_path / "signs"), "--output", str(tmp_path / "data")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"written: {tmp_path / 'data'}"
    assert "note: records completed or corrected: 1 of 1 (image/format in 1" in result.stderr
    result = CliRunner().invoke(main, [*arguments, "--train", "a.record"])
    assert result.exit_code == 2
    assert result.stderr == (
        "tfod: tfod adopt: got both FOLDER and splits. "
        "Give either FOLDER, or --train, --val and --test.\n"
    )
    train = str(tmp_path / "signs/train")
    result = CliRunner().invoke(main, ["adopt", "--train", train, "--output", "data"])
    assert result.stderr.startswith("tfod: --label-map: is missing.")


def test_all_features_that_the_od_api_decodes_are_checked():
    import tensorflow as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    types = {tf.string: "bytes_list", tf.int64: "int64_list", tf.float32: "float_list"}
    decoded = {
        name: types[feature.dtype] for name, feature in TfExampleDecoder().keys_to_features.items()
    }
    assert decoded.items() <= TYPES.items()


def test_records_of_create_coco_tf_record_are_adopted_and_inspected(tmp_path):
    from object_detection.dataset_tools.create_coco_tf_record import create_tf_example

    from tfod.inspection import statistics

    categories = {3: {"id": 3, "name": "stop"}, 7: {"id": 7, "name": "tram"}}
    objects = [
        {"bbox": [10, 3, 10, 24], "category_id": 3, "iscrowd": 0, "area": 240, "image_id": 1},
        {"bbox": [0, 0, 40, 30], "category_id": 7, "iscrowd": 1, "area": 1200, "image_id": 1},
    ]
    records = []
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(99 * number))
        image = {"id": 139 + number, "file_name": f"{number}.jpg", "width": 40, "height": 30}
        _, example, *_ = create_tf_example(image, objects, str(tmp_path), categories)
        records.append(Example.FromString(example.SerializeToString()))
    data = adopt_records(tmp_path, *records)
    assert remarks_of(data)["record changed"].endswith(": 2 of 2 (image/object/class/label in 2)")
    boxes = [record.annotation.objects for record in read_records(data.split("train").shards)]
    assert [(box.name, box.corners, box.crowd) for box in boxes[0]] == [
        ("stop", (10, 3, 20, 27), False),
        ("tram", (0, 0, 40, 30), True),
    ]
    # The OD API's decoder reads the same.
    inspection = statistics.inspect(statistics.find_records(data.folder))
    assert inspection.images["source_id"].tolist() == ["139", "140"]
    assert inspection.boxes["class"].tolist() == ["stop", "tram"] * 2
    assert inspection.boxes["xmax"].tolist() == [0.5, 1, 0.5, 1]
