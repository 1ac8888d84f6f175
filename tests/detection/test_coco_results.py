"""Tests reading and writing COCO results files, and the errors of bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.hand_made_detections import CLASSES, detected
from tfod.annotation import Annotation
from tfod.detection.coco_results import read_results, write_results
from tfod.errors import UserError

IMAGES = [
    Annotation(Path("a"), Path(name), 200, 100, (), source_id=name) for name in ("a.jpg", "7.png")
]
GOOD = {"image_id": "a.jpg", "category_id": 1, "bbox": [10, 20, 40, 60], "score": 0.9}


def test_written_results_are_read_back(tmp_path):
    path = tmp_path / "detections.json"
    detections = [
        detected(("cat", 0.9, 10, 20, 50, 80), ("dog", 0.25, 100, 10, 110, 30)),
        detected(),
    ]
    write_results(path, IMAGES, detections)
    assert json.loads(path.read_text())[0] == GOOD
    read = read_results(path, IMAGES, CLASSES)
    assert len(read) == 2 and len(read[1]) == 0
    np.testing.assert_allclose(read[0].boxes, detections[0].boxes, atol=1e-5)
    np.testing.assert_allclose(read[0].scores, detections[0].scores, atol=1e-6)
    assert read[0].names == ("cat", "dog")
    assert [file.name for file in tmp_path.iterdir()] == ["detections.json"]


def test_image_ids_may_lack_the_suffix_or_be_numbers(tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD | {"image_id": "a"}, GOOD | {"image_id": 7}]))
    assert [len(detections) for detections in read_results(path, IMAGES, CLASSES)] == [1, 1]


def test_image_ids_may_be_file_names_if_these_are_unique(tmp_path):
    nested = ("left/a.jpg", "left/b.jpg", "right/b.jpg", "right/c.png")
    images = [Annotation(Path("a"), Path(name), 200, 100, (), source_id=name) for name in nested]
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD | {"image_id": name} for name in ("a.jpg", "left/b", "c")]))
    assert [len(d) for d in read_results(path, images, CLASSES)] == [1, 1, 0, 1]
    for ambiguous in ("b.jpg", "b"):
        path.write_text(json.dumps([GOOD | {"image_id": ambiguous}]))
        with pytest.raises(UserError, match=f"image_id '{ambiguous}', which is not in the split"):
            read_results(path, images, CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "b.jpg"}, "has the image_id 'b.jpg', which is not in the split"),
        ({"image_id": ["a.jpg"]}, "has the image_id ['a.jpg'], which is not in the split"),
        ({"category_id": 3}, "has the category_id 3, which is not in the label map (1 cat, 2 dog)"),
        (
            {"category_id": "cat"},
            "has the category_id 'cat', which is not in the label map (1 cat, 2 dog)",
        ),
        (
            {"category_id": True},
            "has the category_id True, which is not in the label map (1 cat, 2 dog)",
        ),
        ({"bbox": [1, 2, 3]}, "has the bbox [1, 2, 3], which is not a list of four numbers"),
        ({"bbox": "1 2 3 4"}, "has the bbox '1 2 3 4', which is not a list of four numbers"),
        ({"bbox": [1, 2, -3, 4]}, "has the bbox [1, 2, -3, 4], which is not a valid box"),
        (
            {"bbox": [1, float("nan"), 3, 4]},
            "has the bbox [1, nan, 3, 4], which is not a valid box",
        ),
        (
            {"bbox": [1, 10**400, 3, 4]},
            f"has the bbox [1, 1{'0' * 52}..., which is not a valid box",
        ),
        ({"bbox": [1, "2", 3, 4]}, "has the bbox [1, '2', 3, 4], which is not a valid box"),
        ({"score": float("inf")}, "has the score inf, which is not in [0, 1]"),
        ({"score": 1.5}, "has the score 1.5, which is not in [0, 1]"),
        ({"score": None}, "has the score None, which is not in [0, 1]"),
    ],
)
def test_a_bad_entry_is_an_error(change, message, tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD, GOOD | change]))
    with pytest.raises(UserError) as caught:
        read_results(path, IMAGES, CLASSES)
    assert str(caught.value).startswith(f"{path}: entry 2 {message}. Give a list of ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"annotations": []}', "is not a list of detections"),
        ("[1", "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ("[[]]", "entry 1 is not a JSON object"),
        ("[null]", "entry 1 is not a JSON object"),
        (json.dumps([[GOOD]]), "entry 1 is not a JSON object"),
        (json.dumps({"detections": [GOOD]}), "is not a list of detections"),
        (json.dumps([GOOD, {"image_id": GOOD}]), "entry 2 has no 'bbox'"),
        ('[{"image_id": 1}]', "entry 1 has no 'bbox'"),
    ],
)
def test_a_file_in_another_format_is_an_error(content, message, tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_results(path, IMAGES, CLASSES)
    assert str(caught.value).startswith(f"{path}: {message}")
    with pytest.raises(UserError, match="cannot be read"):
        read_results(tmp_path / "nowhere.json", IMAGES, CLASSES)
