"""Detector takes files and arrays in any picture format, and says what it cannot load."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tfod.detection.detections import detections_from_outputs
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.images import as_rgb


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


def gray_and_colour(dtype):
    """Gray, gray with a channel, RGB and RGBA arrays of the same gray picture."""
    bits = 8 * np.dtype(dtype).itemsize
    gray = np.random.default_rng(0).integers(0, 1 << bits, (40, 60), dtype=dtype)
    opaque = np.full((40, 60, 1), (1 << bits) - 1, dtype)
    rgb = np.repeat(gray[..., None], 3, axis=2)
    return [gray, gray[..., None], rgb, np.concatenate([rgb, opaque], axis=2)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_of_any_common_kind_are_the_same_picture(dtype):
    kinds = gray_and_colour(dtype)
    expected = kinds[2] if dtype == np.uint8 else (kinds[2] >> 8).astype(np.uint8)
    for kind in kinds:
        np.testing.assert_array_equal(as_rgb(kind), expected)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(expected)), expected)
    clear = np.concatenate([expected, np.zeros((40, 60, 1), np.uint8)], axis=2)
    assert (as_rgb(clear) == 255).all()  # white shines through


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), bool),
    ],
    ids=["float", "two channels", "batch", "empty", "bool"],
)
def test_arrays_of_another_kind_are_refused(wrong):
    with pytest.raises(UserError, match=r"Give uint8 or uint16: \[height, width\] gray"):
        as_rgb(wrong)


@pytest.mark.long
def test_raw_gives_the_od_apis_outputs(exported, run, pictures):
    for path in (exported, run):
        raw = Detector.load(path).predict(pictures[0], raw=True)
        assert raw["detection_boxes"].shape == (100, 4) and raw["num_detections"].shape == ()
        assert raw["detection_multiclass_scores"].shape[0] == 100
        assert {"raw_detection_boxes", "raw_detection_scores"} <= set(raw)
        assert set(raw["detection_classes"].tolist()) <= {1, 2, 3, 4}
    lite = Detector.load(exported / "model.tflite").predict(pictures[0], raw=True)
    assert set(lite) == {
        *("detection_boxes", "detection_scores", "detection_classes", "num_detections"),
    }
    assert set(lite["detection_classes"].tolist()) <= {1, 2, 3, 4}


@pytest.mark.long
def test_many_pictures_come_in_order(exported, pictures, sample_voc):
    detector = Detector.load(exported / "model.tflite")
    one_by_one = [detector.predict(picture).scores.tolist() for picture in pictures]
    many = [each.scores.tolist() for each in detector.predict_all(iter(pictures))]
    assert many == one_by_one
    folder = [each.scores.tolist() for each in detector.predict_all(sample_voc / "images")]
    assert len(folder) == 24 and folder[:8] == one_by_one
    batch = np.stack([picture[:200, :200] for picture in pictures[:3]])
    assert len(list(detector.predict_all(batch))) == 3

    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield pictures[0]

    several = detector.predict_all(endless())
    for _ in range(5):
        next(several)
    several.close()
    assert taken < 40


def test_detections_go_to_supervision():
    found = detections_from_outputs(
        *(np.array([[0.5, 0.25, 1, 0.75]]), np.array([0.9]), np.array([2])), {2: "dog"}
    ).to_supervision(200, 100)
    assert found.xyxy.tolist() == [[50, 50, 150, 100]]
    assert found.confidence.tolist() == [pytest.approx(0.9)] and found.class_id.tolist() == [2]
    assert found.data["class_name"].tolist() == ["dog"]


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
