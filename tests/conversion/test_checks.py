"""Tests `conversion.checks`: faults and remarks that concern the complete data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.annotations import annotation
from helpers.conversion import run, split_of
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.conversion.checks import spellings, typing_errors
from tfod.dataset.manifest import load_dataset
from tfod.dataset.records import read_records
from tfod.errors import BadFilesError


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


def test_class_names_that_differ_in_another_character_are_different_classes():
    annotations = [annotation("a", "C", "C#", "C++", "A+", "A*", "°")]
    assert spellings(Path("xml"), annotations) == []


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
