"""Every `.tflite` runs in MediaPipe Tasks, the same C++ as in its Android library, as it is."""

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
def fitting(pictures):
    """The scenes at the model's input size, which neither runtime then resizes."""
    return [np.rint(resize_bilinear(each, 96, 96)).astype(np.uint8) for each in pictures[:4]]


def mediapipe_detector(path, **options):
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions

    base = BaseOptions(model_asset_path=str(path))
    return ObjectDetector.create_from_options(ObjectDetectorOptions(base_options=base, **options))


@pytest.mark.parametrize("variant", VARIANTS)
def test_mediapipe_finds_what_the_detector_finds(variant, exported, fitting):
    from mediapipe import Image as Picture
    from mediapipe import ImageFormat

    path = ExportFolder(exported).tflite(variant)
    ours, compared = Detector.load(path), 0
    with mediapipe_detector(path, score_threshold=0.0) as theirs:
        for pixels in fitting:
            expected = ours.predict(pixels)
            picture = Picture(image_format=ImageFormat.SRGB, data=pixels)
            # One box with several classes is one detection there.
            found = [
                (category, each.bounding_box)
                for each in theirs.detect(picture).detections
                for category in each.categories
            ]
            assert len(found) == len(expected) == 100
            scores = np.array([category.score for category, _ in found])
            np.testing.assert_allclose(np.sort(scores)[::-1], expected.scores, atol=2e-3)
            for category, box in found:
                left, top = box.origin_x, box.origin_y
                if min(left, top) == 0:
                    continue  # its Python side moves a box that begins outside, and keeps its size
                compared += 1
                corners = np.array([top, left, top + box.height, left + box.width])
                alike = [
                    expected.boxes[index] * 96
                    for index in np.flatnonzero(np.abs(expected.scores - category.score) < 4e-3)
                    if expected.names[index] == category.category_name
                ]
                # MediaPipe's boxes are whole pixels: corner and size are rounded down.
                assert min(np.abs(corners.clip(0, 96) - box).max() for box in alike) <= 2
    assert compared > 20


def test_metadata_tells_classes_normalization_and_threshold(exported, run):
    from mediapipe.tasks.python.metadata import metadata

    shown = metadata.MetadataDisplayer.with_model_file(str(exported / "model.tflite"))
    assert shown.get_packed_associated_file_list()[0] == "labels.txt"
    told = json.loads(shown.get_metadata_json())["subgraph_metadata"][0]
    unit = told["input_tensor_metadata"][0]["process_units"][0]
    assert unit["options_type"] == "NormalizationOptions"
    assert unit["options"] == {"mean": [127.5], "std": [127.5]}
    scores = next(each for each in told["output_tensor_metadata"] if each["name"] == "score")
    (unit,) = scores["process_units"]
    threshold = json.loads((run / "best" / "metrics.json").read_text())["threshold"]
    assert unit["options"]["global_score_threshold"] == pytest.approx(threshold, abs=1e-6)
    names = [each["name"] for each in told["output_tensor_metadata"]]
    assert sorted(names) == ["category", "location", "number of detections", "score"]


def test_real_pictures_run_in_mediapipe(exported, shared):
    from mediapipe import Image as Picture

    folder = shared / "roadsign" / "images"
    with mediapipe_detector(exported / "model_int8.tflite", score_threshold=0.0) as theirs:
        for path in sorted(folder.iterdir())[:5]:
            width, height = Image.open(path).size
            found = theirs.detect(Picture.create_from_file(str(path))).detections
            assert len(found) > 10
            for each in found:
                box = each.bounding_box
                assert 0 <= box.origin_x < width and 0 < box.height < 2 * height
