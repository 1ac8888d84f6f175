"""Tests the image formats that `Detector` accepts, its outputs, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tfod.detection.detections import Detections, detections_from_outputs
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.evaluation.error_analysis import iou
from tfod.images import as_rgb


def test_outputs_are_sorted_clipped_and_named():
    detections = detections_from_outputs(
        np.array([[0, 0, 1, 1], [-0.1, 0.2, 0.5, 1.2], [0, 0, 0, 0]], np.float32),
        np.array([0.3, 0.9, 0.0], np.float32),
        np.array([2.0, 1.0, 1.0], np.float32),
        {1: "cat", 2: "dog"},
    )
    assert detections.names == ("cat", "dog") and detections.class_ids.tolist() == [1, 2]
    assert detections.boxes[0] == pytest.approx([0, 0.2, 0.5, 1])
    assert len(detections.above(0.5)) == 1
    assert detections.above(0.5).to_pixels_xyxy(200, 100).tolist() == [
        pytest.approx([40, 0, 200, 50], rel=1e-6)
    ]


@pytest.mark.long
def test_files_and_arrays_give_equal_detections(exported, images, tmp_path):
    detector = Detector.load(exported / "model.tflite")
    expected = detector.predict(images[0])
    image = Image.fromarray(images[0])
    image.save(tmp_path / "rgb.png")
    image.convert("RGBA").save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        detections = detector.predict(tmp_path / name)
        np.testing.assert_array_equal(detections.boxes, expected.boxes)
    rotated = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6  # orientation: rotate by 90 degrees clockwise to display
    rotated.save(tmp_path / "rotated.png", exif=exif)
    detections = detector.predict(str(tmp_path / "rotated.png"))
    np.testing.assert_array_equal(detections.boxes, expected.boxes)


def test_a_batch_of_one_image_is_an_image():
    def model(pixels):
        assert pixels.shape == (40, 60, 3)
        return {
            "detection_boxes": np.array([[[0, 0, 0.5, 0.5]]], np.float32),
            "detection_scores": np.array([[0.9]], np.float32),
            "detection_classes": np.array([[1.0]], np.float32),
            "num_detections": np.array([1.0], np.float32),
        }

    detector = Detector({1: "cat"}, model)
    for shape in ((1, 40, 60, 3), (1, 40, 60, 1), (1, 40, 60, 4)):
        assert detector.predict(np.zeros(shape, np.uint8)).names == ("cat",)
    with pytest.raises(UserError, match=r"is uint8 \[2, 40, 60, 3\]"):
        detector.predict(np.zeros((2, 40, 60, 3), np.uint8))


def gray_and_color(dtype):
    """Returns `[H, W]`, `[H, W, 1]`, RGB and RGBA arrays of the same gray image."""
    bits = 8 * np.dtype(dtype).itemsize
    gray = np.random.default_rng(0).integers(0, 1 << bits, (40, 60), dtype=dtype)
    opaque = np.full((40, 60, 1), (1 << bits) - 1, dtype)
    rgb = np.repeat(gray[..., None], 3, axis=2)
    return [gray, gray[..., None], rgb, np.concatenate([rgb, opaque], axis=2)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_rgb_and_rgba_arrays_give_equal_pixels(dtype):
    arrays = gray_and_color(dtype)
    expected = arrays[2] if dtype == np.uint8 else (arrays[2] >> 8).astype(np.uint8)
    for array in arrays:
        np.testing.assert_array_equal(as_rgb(array), expected)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(expected)), expected)
    transparent = np.concatenate([expected, np.zeros((40, 60, 1), np.uint8)], axis=2)
    assert (as_rgb(transparent) == 255).all()  # on a white background


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
def test_other_arrays_are_an_error(wrong):
    with pytest.raises(UserError, match=r"Give uint8 or uint16: \[height, width\] gray"):
        as_rgb(wrong)


@pytest.mark.long
def test_raw_returns_the_outputs_of_the_od_api(exported, run, images):
    for path in (exported, run):
        raw = Detector.load(path).predict(images[0], raw=True)
        assert raw["detection_boxes"].shape == (100, 4) and raw["num_detections"].shape == ()
        assert raw["detection_multiclass_scores"].shape[0] == 100
        assert {"raw_detection_boxes", "raw_detection_scores"} <= set(raw)
        assert set(raw["detection_classes"].tolist()) <= {1, 2, 3, 4}
    lite = Detector.load(exported / "model.tflite").predict(images[0], raw=True)
    assert set(lite) == {
        *("detection_boxes", "detection_scores", "detection_classes", "num_detections"),
    }
    assert set(lite["detection_classes"].tolist()) <= {1, 2, 3, 4}


@pytest.mark.long
def test_non_maximum_suppression_of_a_run_can_be_changed(run, images):
    before = Detector.load(run).predict(images[0])
    min_score = float(np.median(before.scores))
    detections = Detector.load(run, nms_iou=0.3, min_score=min_score).predict(images[0])
    assert len(detections) and detections.scores.min() >= min_score
    assert most_overlap(before) > 0.31 >= most_overlap(detections)


def most_overlap(detections: Detections) -> float:
    """Returns the highest IoU of two boxes of one class that are inside the image."""
    # At the edge, boxes are clipped after the suppression.
    inside = ((detections.boxes > 0.001) & (detections.boxes < 0.999)).all(axis=1)
    boxes, classes = detections.boxes[inside].astype(float), detections.class_ids[inside]
    pairs = iou(boxes, boxes) * (classes[:, None] == classes)
    return np.triu(pairs, 1).max()


@pytest.mark.long
def test_predict_all_keeps_the_order(exported, images, sample_voc):
    detector = Detector.load(exported / "model.tflite")
    one_by_one = [detector.predict(image).scores.tolist() for image in images]
    many = [detections.scores.tolist() for detections in detector.predict_all(iter(images))]
    assert many == one_by_one
    folder = [
        detections.scores.tolist() for detections in detector.predict_all(sample_voc / "images")
    ]
    assert len(folder) == 24 and folder[:8] == one_by_one
    batch = np.stack([image[:200, :200] for image in images[:3]])
    assert len(list(detector.predict_all(batch))) == 3

    consumed = 0

    def endless():
        nonlocal consumed
        while True:
            consumed += 1
            yield images[0]

    results = detector.predict_all(endless())
    for _ in range(5):
        next(results)
    results.close()
    assert consumed < 40


def test_detections_convert_to_supervision():
    converted = detections_from_outputs(
        *(np.array([[0.5, 0.25, 1, 0.75]]), np.array([0.9]), np.array([2])), {2: "dog"}
    ).to_supervision(200, 100)
    assert converted.xyxy.tolist() == [[50, 50, 150, 100]]
    assert converted.confidence.tolist() == [
        pytest.approx(0.9)
    ] and converted.class_id.tolist() == [2]
    assert converted.data["class_name"].tolist() == ["dog"]


def test_an_export_has_a_fixed_suppression(tmp_path):
    with pytest.raises(UserError, match="Give --nms-iou and --min-score with a run"):
        Detector.load(tmp_path / "model.tflite", nms_iou=0.5)


def test_a_path_without_a_model_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="does not contain a model"):
            Detector.load(path)


@pytest.mark.long
def test_a_corrupt_saved_model_is_an_error(exported, tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"\xff" * 100)
    (tmp_path / "label_map.pbtxt").write_bytes((exported / "label_map.pbtxt").read_bytes())
    with pytest.raises(UserError, match="cannot be loaded as a SavedModel"):
        Detector.load(tmp_path)
