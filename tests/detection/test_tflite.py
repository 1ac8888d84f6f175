"""Pixels reach the `.tflite` exactly as they reach the SavedModel, and damage is noticed."""

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
def test_resize_equals_the_od_api(size):
    import tensorflow as tf
    from object_detection.core import preprocessor

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected, _ = preprocessor.resize_image(
        tf.constant(pixels, tf.float32), new_height=96, new_width=96
    )
    ours = resize_bilinear(pixels, 96, 96)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-3)


def test_prepare_normalizes_each_channel_and_rounds_for_integers():
    prepare = TFLiteInput(2, 2, (1.0, 2.0, 1 / 127.5), (0.0, -1.0, -1.0)).prepare
    ready = prepare(np.full((4, 6, 3), [10, 20, 255], np.uint8))
    assert ready.shape == (1, 2, 2, 3) and ready.dtype == np.float32
    np.testing.assert_allclose(ready[0, 0, 0], [10, 39, 1], rtol=1e-6)
    prepare = TFLiteInput(1, 2, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)).prepare
    ready = prepare(np.array([[[0] * 3, [1] * 3, [255] * 3]], np.uint8), np.uint8)
    assert ready.dtype == np.uint8 and ready[0, 0, :, 0].tolist() == [0, 128]  # 1.5 columns on


@pytest.mark.parametrize(
    "content", [b"", b"TFL3 but no more", b"PK\x03\x04" + bytes(100)], ids=["empty", "cut", "zip"]
)
def test_a_file_that_is_no_model_is_one_line(content, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.tflite: is damaged, or no model that"):
        Detector.load(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        Detector.load(tmp_path / "nowhere.tflite")


@pytest.mark.long
def test_the_file_says_its_classes_and_its_input(exported):
    file = read_tflite(exported / "model.tflite")
    assert file.labels == {1: "crosswalk", 2: "speedlimit", 3: "stop", 4: "trafficlight"}
    assert (file.given.height, file.given.width) == (96, 96)
    np.testing.assert_allclose(file.given.scale, 2 / 255, rtol=1e-6)
    np.testing.assert_allclose(file.given.offset, -1, rtol=1e-6)
    file = read_tflite(exported / "model_int8.tflite")
    assert (*file.given.scale, *file.given.offset) == (1, 1, 1, 0, 0, 0)


@pytest.mark.long
def test_any_changed_byte_of_the_network_is_noticed(exported, tmp_path):
    """LiteRT trusts what it is given: a changed offset makes it read anywhere."""
    content = (exported / "model_int8.tflite").read_bytes()
    path, rng = tmp_path / "model.tflite", np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        end = min(member.header_offset for member in archive.infolist())
    for at in rng.integers(0, end, 100):
        changed = bytearray(content)
        changed[at] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(UserError, match="is damaged"):
            Detector.load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is damaged"):
        Detector.load(path)


@pytest.mark.long
def test_it_needs_no_tensorflow_and_no_other_file(exported, sample_voc, tmp_path):
    (tmp_path / "alone.tflite").write_bytes((exported / "model.tflite").read_bytes())
    picture = sorted((sample_voc / "images").iterdir())[0]
    code = f"""
import json, sys
from tfod.detection.detector import Detector
found = Detector.load({str(tmp_path / "alone.tflite")!r}).predict({str(picture)!r})
heavy = {{"tensorflow", "object_detection", "mediapipe", "pandas", "cv2", "supervision", "lxml"}}
print(json.dumps([len(found), found.names[0], sorted(heavy & set(sys.modules))]))
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
def test_no_class_is_lost_whatever_number_of_threads_is_asked_for(exported, pictures):
    """LiteRT's own regular suppression with T threads never reports class T, counted from 0."""
    path = exported / "model.tflite"
    alone = Detector.load(path, threads=1).predict(pictures[0])
    assert set(alone.class_ids.tolist()) == {1, 2, 3, 4}
    for threads in (2, 3, None):
        found = Detector.load(path, threads=threads).predict(pictures[0])
        np.testing.assert_array_equal(found.class_ids, alone.class_ids)


@pytest.mark.long
@pytest.mark.parametrize("name", ["model.tflite", "saved_model"])
def test_threads_may_share_a_detector(name, exported, pictures):
    detector = Detector.load(exported if name == "saved_model" else exported / name)
    expected = [detector.predict(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for ours, theirs in zip(pool.map(detector.predict, pictures), expected, strict=True):
                np.testing.assert_array_equal(ours.boxes, theirs.boxes)
                np.testing.assert_array_equal(ours.scores, theirs.scores)
