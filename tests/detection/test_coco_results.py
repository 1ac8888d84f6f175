"""Detections as a COCO results file: written, read back, and refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.hand_made_detections import CLASSES, found
from tfod.annotation import Annotation
from tfod.detection.coco_results import read_results, write_results
from tfod.errors import UserError

PICTURES = [
    Annotation(Path("a"), Path(name), 200, 100, (), source_id=name) for name in ("a.jpg", "7.png")
]
GOOD = {"image_id": "a.jpg", "category_id": 1, "bbox": [10, 20, 40, 60], "score": 0.9}


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "detections.json"
    detections = [
        found(("cat", 0.9, 10, 20, 50, 80), ("dog", 0.25, 100, 10, 110, 30)),
        found(),
    ]
    write_results(path, PICTURES, detections)
    assert json.loads(path.read_text())[0] == GOOD
    again = read_results(path, PICTURES, CLASSES)
    assert len(again) == 2 and len(again[1]) == 0
    np.testing.assert_allclose(again[0].boxes, detections[0].boxes, atol=1e-5)
    np.testing.assert_allclose(again[0].scores, detections[0].scores, atol=1e-6)
    assert again[0].names == ("cat", "dog")
    assert [file.name for file in tmp_path.iterdir()] == ["detections.json"]


def test_image_ids_may_lack_the_suffix_or_be_numbers(tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD | {"image_id": "a"}, GOOD | {"image_id": 7}]))
    assert [len(each) for each in read_results(path, PICTURES, CLASSES)] == [1, 1]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"image_id": "b.jpg"}, "names the image 'b.jpg', which is not in the split"),
        ({"image_id": ["a.jpg"]}, "names the image ['a.jpg'], which is not in the split"),
        ({"category_id": 3}, "names the category 3, and there are 1 cat, 2 dog"),
        ({"category_id": "cat"}, "names the category 'cat', and there are 1 cat, 2 dog"),
        ({"category_id": True}, "names the category True, and there are 1 cat, 2 dog"),
        ({"bbox": [1, 2, 3]}, "has the bbox [1, 2, 3], which is not four numbers"),
        ({"bbox": "1 2 3 4"}, "has the bbox '1 2 3 4', which is not four numbers"),
        ({"bbox": [1, 2, -3, 4]}, "has the bbox [1, 2, -3, 4], which is none"),
        ({"bbox": [1, float("nan"), 3, 4]}, "has the bbox [1, nan, 3, 4], which is none"),
        ({"bbox": [1, 10**400, 3, 4]}, f"has the bbox [1, 1{'0' * 52}..., which is none"),
        ({"bbox": [1, "2", 3, 4]}, "has the bbox [1, '2', 3, 4], which is none"),
        ({"score": float("inf")}, "has the score inf, which is not from 0 to 1"),
        ({"score": 1.5}, "has the score 1.5, which is not from 0 to 1"),
        ({"score": None}, "has the score None, which is not from 0 to 1"),
    ],
)
def test_a_bad_entry_is_one_line(change, line, tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD, GOOD | change]))
    with pytest.raises(UserError) as caught:
        read_results(path, PICTURES, CLASSES)
    assert str(caught.value).startswith(f"{path}: entry 2 {line}. Give a list of ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"annotations": []}', "is no list of detections"),
        ("[1", "is no JSON: "),
        ("[" * 100_000, "is no JSON: "),
        ("[[]]", "entry 1 is no object"),
        ('[{"image_id": 1}]', "entry 1 has no 'bbox'"),
    ],
)
def test_another_file_is_one_line(content, line, tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_results(path, PICTURES, CLASSES)
    assert str(caught.value).startswith(f"{path}: {line}")
    with pytest.raises(UserError, match="cannot be read"):
        read_results(tmp_path / "nowhere.json", PICTURES, CLASSES)
