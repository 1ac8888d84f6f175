"""Detector takes files and arrays in any picture format, and says what it cannot load."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tfod.detections import detections_from_outputs
from tfod.detector import Detector
from tfod.errors import UserError


def test_outputs_are_sorted_clipped_and_named():
    found = detections_from_outputs(
        np.array([[0, 0, 1, 1], [-0.1, 0.2, 0.5, 1.2], [0, 0, 0, 0]], np.float32),
        np.array([0.3, 0.9, 0.0], np.float32),
        np.array([2.0, 1.0, 1.0], np.float32),
        {1: "cat", 2: "dog"},
    )
    assert found.names == ("cat", "dog") and found.class_ids.tolist() == [1, 2]
    assert found.boxes[0] == pytest.approx([0, 0.2, 0.5, 1])
    assert len(found.above(0.5)) == 1
    assert found.above(0.5).to_pixels_xyxy(200, 100).tolist() == [
        pytest.approx([40, 0, 200, 50], rel=1e-6)
    ]


@pytest.mark.long
def test_file_array_and_other_formats_give_the_same(exported, pictures, tmp_path):
    detector = Detector.load(exported / "model.tflite")
    expected = detector.predict(pictures[0])
    picture = Image.fromarray(pictures[0])
    picture.save(tmp_path / "rgb.png")
    picture.convert("RGBA").save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        found = detector.predict(tmp_path / name)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
    rotated = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6  # to be turned right by a quarter
    rotated.save(tmp_path / "rotated.png", exif=exif)
    found = detector.predict(str(tmp_path / "rotated.png"))
    np.testing.assert_array_equal(found.boxes, expected.boxes)


@pytest.mark.long
def test_arrays_of_another_kind_are_refused(exported, pictures):
    detector = Detector.load(exported / "model.tflite")
    for wrong in (pictures[0] / 255, pictures[0][..., 0], pictures[0][None]):
        with pytest.raises(UserError, match=r"Give uint8 \[height, width, 3\]"):
            detector.predict(wrong)


@pytest.mark.long
def test_a_tflite_without_its_label_map_is_one_line(exported, tmp_path):
    (tmp_path / "model.tflite").write_bytes((exported / "model.tflite").read_bytes())
    with pytest.raises(UserError, match=r"label_map\.pbtxt: is missing"):
        Detector.load(tmp_path / "model.tflite")


def test_what_holds_no_model_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="holds no model"):
            Detector.load(path)


@pytest.mark.long
def test_a_damaged_saved_model_is_one_line(exported, tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"\xff" * 100)
    (tmp_path / "label_map.pbtxt").write_bytes((exported / "label_map.pbtxt").read_bytes())
    with pytest.raises(UserError, match="cannot be loaded as a SavedModel"):
        Detector.load(tmp_path)
