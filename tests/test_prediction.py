"""`predict` over files and folders: JSON in pixels, drawn pictures, a contact sheet."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tfod.detections import detections_from_outputs
from tfod.detector import Detector
from tfod.errors import BadFilesError, UserError
from tfod.prediction import find_pictures, predict_files
from tfod.report import contact_sheet, draw_detections

LABELS = {1: "cat"}


@pytest.fixture
def detector():
    """Finds one cat in the upper left quarter of a bright picture, and nothing in a dark one."""

    def model(pixels):
        score = 0.9 if pixels.mean() > 127 else 0.2
        return np.array([[0, 0, 0.5, 0.5]]), np.array([score]), np.array([1.0])

    return Detector(LABELS, model)


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "in"
    (pictures / "more").mkdir(parents=True)
    Image.new("RGB", (200, 100), "white").save(pictures / "bright.png")
    Image.new("RGB", (80, 120), "black").save(pictures / "dark.jpg")
    Image.new("L", (50, 50), 255).save(pictures / "more" / "bright.png")
    (pictures / "notes.txt").write_text("not a picture")
    return pictures


def test_json_has_pixels_and_drawings_have_names(detector, folder, tmp_path):
    output, json_file = tmp_path / "out", tmp_path / "found.json"
    found = predict_files(detector, [folder], output=output, json_file=json_file)
    assert [len(f.detections) for f in found] == [1, 0, 1]
    assert json.loads(json_file.read_text())[0] == {
        "file": str(folder / "bright.png"),
        "width": 200,
        "height": 100,
        "detections": [{"name": "cat", "score": 0.9, "box": [0, 0, 100, 50]}],
    }
    names = {path.name for path in output.iterdir()}
    assert names == {"bright.jpg", "bright_2.jpg", "dark.jpg", "contact_sheet.jpg"}
    assert Image.open(output / "bright.jpg").size == (200, 100)
    assert Image.open(output / "contact_sheet.jpg").size == (3 * 320, 320)


def test_threshold_decides_what_is_reported(detector, folder):
    found = predict_files(detector, [folder], threshold=0.1)
    assert [len(f.detections) for f in found] == [1, 1, 1]


def test_every_broken_picture_is_named_and_nothing_written(detector, folder, tmp_path):
    for name in ("broken.png", "cut.jpg"):
        (folder / name).write_bytes((folder / "dark.jpg").read_bytes()[:300])
    output = tmp_path / "out"
    with pytest.raises(BadFilesError) as error:
        predict_files(detector, [folder], output=output, json_file=tmp_path / "found.json")
    assert [fault.path.name for fault in error.value.errors] == ["broken.png", "cut.jpg"]
    assert str(error.value).endswith("Mend them, or take them out.")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_output_that_is_there_is_kept(detector, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        predict_files(detector, [folder], output=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_inputs_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        find_pictures([tmp_path / "nowhere.jpg"])
    with pytest.raises(UserError, match="holds no pictures"):
        find_pictures([tmp_path])


def test_drawing_marks_the_box_and_leaves_the_rest():
    pixels = np.full((200, 300, 3), 90, np.uint8)
    found = detections_from_outputs(
        np.array([[0.5, 0.5, 0.9, 0.9]]), np.array([0.8]), np.array([1]), LABELS
    )
    drawn = draw_detections(pixels, found)
    changed = (drawn != pixels).any(axis=2)
    assert changed[100:180, 150].mean() > 0.9  # the left edge, from top to bottom
    assert not changed[190:].any() and not changed[:, :140].any()
    assert not changed[120:160, 170:250].any()  # inside the box
    assert (pixels == 90).all()


def test_a_sheet_fits_every_picture_into_its_tile():
    pictures = [np.full((h, w, 3), 200, np.uint8) for h, w in ((10, 400), (400, 10), (50, 50))]
    assert contact_sheet(pictures, columns=2, tile=100).size == (200, 200)
