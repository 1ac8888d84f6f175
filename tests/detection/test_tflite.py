"""Tests the input tensor of a `.tflite`, its metadata, corrupt files and threads."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tfod.detection.detector import Detector
from tfod.detection.tflite_file import read_tflite
from tfod.detection.tflite_input import TFLiteInput, resize_bilinear
from tfod.errors import UserError

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.mark.parametrize("size", [(7, 5), (96, 96), (300, 401), (97, 96), (1, 1)])
def test_resize_equals_the_od_api_resizer(size):
    import tensorflow as tf
    from object_detection.core import preprocessor

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected, _ = preprocessor.resize_image(
        tf.constant(pixels, tf.float32), new_height=96, new_width=96
    )
    actual = resize_bilinear(pixels, 96, 96)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-3)


def test_prepare_normalizes_each_channel_and_rounds_for_integer_inputs():
    prepare = TFLiteInput(2, 2, (1.0, 2.0, 1 / 127.5), (0.0, -1.0, -1.0)).prepare
    tensor = prepare(np.full((4, 6, 3), [10, 20, 255], np.uint8))
    assert tensor.shape == (1, 2, 2, 3) and tensor.dtype == np.float32
    np.testing.assert_allclose(tensor[0, 0, 0], [10, 39, 1], rtol=1e-6)
    prepare = TFLiteInput(1, 2, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)).prepare
    tensor = prepare(np.array([[[0] * 3, [1] * 3, [255] * 3]], np.uint8), np.uint8)
    assert tensor.dtype == np.uint8 and tensor[0, 0, :, 0].tolist() == [
        0,
        128,
    ]  # the second sample is at column 1.5


@pytest.mark.parametrize(
    "content",
    [b"", b"TFL3 and the rest is missing", b"PK\x03\x04" + bytes(100)],
    ids=["empty", "cut", "zip"],
)
def test_a_file_that_is_not_a_model_is_an_error(content, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.tflite: is corrupt, or was not written by"):
        Detector.load(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        Detector.load(tmp_path / "nowhere.tflite")


@pytest.mark.long
def test_the_file_contains_labels_and_input_normalization(exported):
    file = read_tflite(exported / "model.tflite")
    assert file.labels == {1: "crosswalk", 2: "speedlimit", 3: "stop", 4: "trafficlight"}
    assert (file.input.height, file.input.width) == (96, 96)
    np.testing.assert_allclose(file.input.scale, 2 / 255, rtol=1e-6)
    np.testing.assert_allclose(file.input.offset, -1, rtol=1e-6)
    file = read_tflite(exported / "model_int8.tflite")
    assert (*file.input.scale, *file.input.offset) == (1, 1, 1, 0, 0, 0)


@pytest.mark.long
def test_a_modified_network_is_an_error(exported, tmp_path):
    """LiteRT does not validate the file: a modified offset makes it read arbitrary memory."""
    content = (exported / "model_int8.tflite").read_bytes()
    path, rng = tmp_path / "model.tflite", np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        end = min(member.header_offset for member in archive.infolist())
    for position in rng.integers(0, end, 100):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(UserError, match="is corrupt"):
            Detector.load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is corrupt"):
        Detector.load(path)


@pytest.mark.long
def test_a_tflite_needs_neither_tensorflow_nor_other_files(exported, sample_voc, tmp_path):
    (tmp_path / "alone.tflite").write_bytes((exported / "model.tflite").read_bytes())
    image = sorted((sample_voc / "images").iterdir())[0]
    code = f"""
import json, sys
from tfod.detection.detector import Detector
detections = Detector.load({str(tmp_path / "alone.tflite")!r}).predict({str(image)!r})
heavy = {{"tensorflow", "object_detection", "mediapipe", "pandas", "cv2", "supervision", "lxml"}}
print(json.dumps([len(detections), detections.names[0], sorted(heavy & set(sys.modules))]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(TOOLS), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    count, name, heavy = json.loads(result.stdout)
    assert count > 0 and name in {"crosswalk", "speedlimit", "stop", "trafficlight"}
    assert heavy == []


@pytest.mark.long
def test_all_classes_are_detected_with_any_number_of_threads(exported, images):
    """LiteRT's regular NMS with T threads never reports class T (from 0), if not prevented."""
    path = exported / "model.tflite"
    expected = Detector.load(path, threads=1).predict(images[0])
    assert set(expected.class_ids.tolist()) == {1, 2, 3, 4}
    for threads in (2, 3, None):
        detections = Detector.load(path, threads=threads).predict(images[0])
        np.testing.assert_array_equal(detections.class_ids, expected.class_ids)


@pytest.mark.long
@pytest.mark.parametrize("name", ["model.tflite", "saved_model"])
def test_threads_can_share_a_detector(name, exported, images):
    detector = Detector.load(exported if name == "saved_model" else exported / name)
    expected = [detector.predict(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            results = pool.map(detector.predict, images)
            for actual, single in zip(results, expected, strict=True):
                np.testing.assert_array_equal(actual.boxes, single.boxes)
                np.testing.assert_array_equal(actual.scores, single.scores)
