"""Tests that MediaPipe Tasks, with the C++ code of its Android library, runs every `.tflite`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tfod.detection.detector import Detector
from tfod.detection.tflite_input import resize_bilinear
from tfod.export.tflite_converter import VARIANTS
from tfod.model import ExportFolder

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def resized(images):
    """Scenes at the input size of the model, so that neither runtime resizes them."""
    return [np.rint(resize_bilinear(image, 96, 96)).astype(np.uint8) for image in images[:4]]


def mediapipe_detector(path, **options):
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions

    base = BaseOptions(model_asset_path=str(path))
    return ObjectDetector.create_from_options(ObjectDetectorOptions(base_options=base, **options))


@pytest.mark.parametrize("variant", VARIANTS)
def test_mediapipe_and_detector_give_equal_detections(variant, exported, resized):
    from mediapipe import Image as MediaPipeImage
    from mediapipe import ImageFormat

    path = ExportFolder(exported).tflite(variant)
    detector, compared = Detector.load(path), 0
    with mediapipe_detector(path, score_threshold=0.0) as mediapipe:
        for pixels in resized:
            expected = detector.predict(pixels)
            image = MediaPipeImage(image_format=ImageFormat.SRGB, data=pixels)
            # MediaPipe merges a box with several classes into one detection.
            detections = [
                (category, detection.bounding_box)
                for detection in mediapipe.detect(image).detections
                for category in detection.categories
            ]
            assert len(detections) == len(expected) == 100
            scores = np.array([category.score for category, _ in detections])
            np.testing.assert_allclose(np.sort(scores)[::-1], expected.scores, atol=2e-3)
            for category, box in detections:
                left, top = box.origin_x, box.origin_y
                if min(left, top) == 0:
                    continue  # its Python API shifts a box that starts outside the image
                compared += 1
                corners = np.array([top, left, top + box.height, left + box.width])
                candidates = [
                    expected.boxes[index] * 96
                    for index in np.flatnonzero(np.abs(expected.scores - category.score) < 4e-3)
                    if expected.names[index] == category.category_name
                ]
                # MediaPipe's boxes are in whole pixels: corner and size are rounded down.
                assert min(np.abs(corners.clip(0, 96) - box).max() for box in candidates) <= 2
    assert compared > 20


def test_metadata_contains_classes_normalization_and_threshold(exported, run):
    from mediapipe.tasks.python.metadata import metadata

    displayer = metadata.MetadataDisplayer.with_model_file(str(exported / "model.tflite"))
    assert displayer.get_packed_associated_file_list()[0] == "labels.txt"
    content = json.loads(displayer.get_metadata_json())["subgraph_metadata"][0]
    unit = content["input_tensor_metadata"][0]["process_units"][0]
    assert unit["options_type"] == "NormalizationOptions"
    assert unit["options"] == {"mean": [127.5], "std": [127.5]}
    outputs = content["output_tensor_metadata"]
    (unit,) = next(output for output in outputs if output["name"] == "score")["process_units"]
    threshold = json.loads((run / "best" / "metrics.json").read_text())["threshold"]
    assert unit["options"]["global_score_threshold"] == pytest.approx(threshold, abs=1e-6)
    names = [output["name"] for output in outputs]
    assert sorted(names) == ["category", "location", "number of detections", "score"]


def test_mediapipe_detects_objects_in_real_images(exported, shared):
    from mediapipe import Image as MediaPipeImage

    folder = shared / "roadsign" / "images"
    with mediapipe_detector(exported / "model_int8.tflite", score_threshold=0.0) as mediapipe:
        for path in sorted(folder.iterdir())[:5]:
            width, height = Image.open(path).size
            detections = mediapipe.detect(MediaPipeImage.create_from_file(str(path))).detections
            assert len(detections) > 10
            for detection in detections:
                box = detection.bounding_box
                assert 0 <= box.origin_x < width and 0 < box.height < 2 * height
