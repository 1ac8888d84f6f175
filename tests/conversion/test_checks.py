"""Tests `conversion.checks`: faults and remarks that concern the complete data set."""

from __future__ import annotations

import shutil
from pathlib import Path
from unicodedata import normalize

import pytest
from PIL import Image

from helpers.annotations import annotation
from helpers.conversion import run, split_of
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.conversion.checks import spellings, typing_errors
from tfod.dataset.manifest import load_dataset
from tfod.dataset.records import read_records
from tfod.errors import BadFilesError, UserError


def remarks(data) -> dict[str, tuple[int, str]]:
    return {remark.kind: (remark.count, remark.what) for remark in data.remarks}


def test_clean_data_set_has_no_remarks(voc):
    assert run(voc).remarks == ()


def test_fixed_boxes_are_counted(voc):
    write_xml(
        voc / "annotations/0.xml",
        *[voc_object("stop", (1, 2, 40.5, 12)), voc_object("stop", (1, 2, 41, 12))],
        *[voc_object("stop", (5, 6, 15, 16))] * 3,
        voc_object("stop", (5, 6, 8, 16)),
    )
    data = run(voc)
    assert remarks(data) == {
        "box clipped": (
            2,
            "2 boxes crossed the edge of their image by up to one pixel and were clipped",
        ),
        # The two clipped boxes are equal too.
        "box repeated": (
            3,
            "3 boxes repeat another box of their image and were removed",
        ),
        "box tiny": (
            1,
            "1 box is less than 4 pixels wide or high; a detector cannot learn from it",
        ),
    }
    assert load_dataset(data.folder).remarks == data.remarks
    shards = [shard for split in data.splits.values() for shard in split.shards]
    (record,) = [
        record for record in read_records(shards) if record.annotation.source_id == "0.jpg"
    ]
    assert [box.xmax for box in record.annotation.objects] == [40, 15, 8]


@pytest.mark.parametrize("seed", range(5))
def test_equal_images_are_in_the_same_split(voc, seed):
    for number in range(5):
        source = next((voc / "images").glob(f"{number}.*"))
        copy = voc / "images" / f"copy{number}{source.suffix}"
        shutil.copy(source, copy)
        write_xml(voc / f"annotations/copy{number}.xml", voc_object("stop"), filename=copy.name)
    data = run(voc, seed=seed)
    splits = split_of(data)
    assert len(splits) == 35
    for name, split in splits.items():
        assert split == splits[name.removeprefix("copy")]
    count, what = remarks(data)["image repeated"]
    assert count == 5
    assert "copy0.jpg = 0.jpg, copy1.png = 1.png, copy2.png = 2.png, …" in what


def test_class_names_that_differ_in_spelling_are_a_fault(voc, tmp_path):
    for number, name in enumerate(("Stop", "STOP", "cross-walk", "cross walk"), 30):
        write_image(voc / f"images/{number}.png", color=(number, 99, 0))
        write_xml(voc / f"annotations/{number}.xml", voc_object(name))
    with pytest.raises(BadFilesError) as caught:
        run(voc, skip_bad=True)
    assert [error.what for error in caught.value.errors] == [
        "its classes 'STOP' (1), 'Stop' (1), 'stop' (20) differ only in spelling",
        "its classes 'cross walk' (1), 'cross-walk' (1) differ only in spelling",
    ]
    # Nothing can be skipped.
    assert str(caught.value) == (
        f"{voc}/annotations: 1 unusable file (2 class spelled twice). Fix them."
    )
    assert not (tmp_path / "data").exists()
    # A label map with all names shows that the user knows about them.
    from tfod.dataset.label_map import write_label_map

    names = ("STOP", "Stop", "stop", "cross walk", "cross-walk", "tram")
    write_label_map(tmp_path / "map.pbtxt", dict(enumerate(names, 1)))
    assert len(run(voc, label_map=tmp_path / "map.pbtxt").classes) == 6


@pytest.mark.parametrize(
    "names",
    [
        ("C", "C#", "C++"),
        ("A", "A+", "A-", "A*", "°"),
        ("1.5", "15", "1-5", "1_5", "-15"),
        ("10 20", "1020"),
        ("कि", "का", "की", "क"),
        ("กา", "กี", "ก"),
        ("r\u00e9sum\u00e9", "resume"),
    ],
)
def test_names_that_differ_in_more_than_spelling_are_different_classes(names):
    assert spellings(Path("xml"), [annotation("a", *names)]) == []


@pytest.mark.parametrize(
    "names",
    [
        ("stop sign", "stop_sign", "stop-sign", "stopsign", "Stop Sign"),
        ("limit 30", "limit30", "limit-30", "Limit_30"),
        ("30 km", "30km", "30-KM"),
        ("A-", "A -", "a-"),
        ("stop", "stop_"),
        ("a_-b", "ab"),
    ],
)
def test_names_that_differ_in_spelling_are_a_fault(names):
    (fault,) = spellings(Path("xml"), [annotation("a", *names)])
    assert all(f"{name!r} (1)" in str(fault) for name in names)


def test_two_unicode_forms_of_a_name_are_one_class(voc, tmp_path):
    for number in range(20):
        form = "NFC" if number % 2 else "NFD"
        write_xml(voc / f"annotations/{number}.xml", voc_object(normalize(form, "café")))
    assert list(run(voc).classes.values()) == ["caf\u00e9", "tram"]
    label_map = tmp_path / "map.pbtxt"
    label_map.write_text(normalize("NFD", "item {id: 1 name: 'café'} item {id: 2 name: 'tram'}"))
    assert run(voc, "mapped", label_map=label_map).split("train").objects_per_class["caf\u00e9"]
    label_map.write_text("item {id: 1 name: 'cafe\u0301'} item {id: 2 name: 'caf\u00e9'}")
    with pytest.raises(UserError, match="contains a class twice, with accents stored in diff"):
        run(voc, "twice", label_map=label_map)


def test_label_map_may_have_a_byte_order_mark(voc, tmp_path):
    label_map = tmp_path / "map.pbtxt"
    text = "item { id: 1 name: 'tram' } item { id: 2 name: 'stop' }"
    label_map.write_text(text, encoding="utf-8-sig")
    assert run(voc, label_map=label_map).classes == {1: "tram", 2: "stop"}


def test_images_without_annotation_are_counted(voc):
    write_image(voc / "images/new.jpg")
    assert remarks(run(voc)) == {
        "image unannotated": (
            1,
            "1 image has no annotation and will not be used; to use an image without objects, "
            "give it an annotation without boxes",
        )
    }


def test_class_that_is_not_in_a_split_gets_a_remark(voc):
    rows = [f"{number},{'test' if number >= 25 else 'train'}" for number in range(30)]
    (voc / "split.csv").write_text("\n".join(["filename,split", *rows]))
    assert remarks(run(voc, split_by=voc / "split.csv")) == {
        "class not in train": (
            1,
            "1 class has no object in train, so a detector cannot learn it: 'tram'; add images "
            "of it",
        ),
        "class not in test": (
            1,
            "1 class has no object in test, so it does not count in its AP: 'stop'; add images, "
            "or give test a larger share with --split",
        ),
    }


def test_orientation_that_the_size_does_not_show_gets_a_remark(voc):
    exif = Image.Exif()
    exif[0x0112] = 3
    for number in (0, 3):
        write_image(voc / f"images/{number}.jpg", color=(number, 9, 9), exif=exif)
    assert remarks(run(voc)) == {
        "orientation unclear": (
            2,
            "2 images have an EXIF orientation, and the annotated size does not show whether "
            "boxes were drawn on the rotated image: 0.jpg, 3.jpg; they are used as if they were. "
            "If the boxes are in wrong places, convert with --exif ignore",
        )
    }
    for option in ("apply", "ignore"):
        data = run(voc, option, exif=option)
        assert data.remarks == ()
        shards = [shard for split in data.splits.values() for shard in split.shards]
        images = {r.annotation.source_id: r.image.data for r in read_records(shards)}
        unchanged = images["0.jpg"] == (voc / "images/0.jpg").read_bytes()
        assert unchanged is (option == "ignore")


def test_filename_that_differs_from_the_name_of_the_xml_gets_a_remark(voc):
    (voc / "annotations/0.xml").rename(voc / "annotations/spare.xml")
    write_xml(voc / "annotations/3.xml", voc_object(), filename="0.jpg")
    data = run(voc, skip_bad=True)
    assert remarks(data)["name differs"] == (
        1,
        "1 XML file does not have the name in <filename>, and there are images with both names: "
        "3.xml has 0.jpg; the one in <filename> is used",
    )


def test_rare_name_similar_to_a_frequent_one_gets_a_remark(voc):
    write_xml(voc / "annotations/29.xml", voc_object("sotp"), filename="29.png")
    count, what = remarks(run(voc))["class alike"]
    assert count == 1
    assert what == (
        "class 'sotp' (1 object) is similar to 'stop' (20); if it is a typing error, correct it"
    )


def test_frequent_names_and_names_that_differ_in_a_number_are_not_typing_errors():
    assert typing_errors({"stop": 100, "stpo": 3}) == [("stpo", "stop")]
    assert typing_errors({"stop": 100, "step": 60}) == []
    assert typing_errors({"limit50": 100, "limit30": 2}) == []
    assert typing_errors({"stop": 100, "tram": 1}) == []
