"""Tests that ONNX Runtime runs an exported `.onnx` as TensorFlow runs the SavedModel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.corruption import use_corrupted
from tfod.cli import main
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.evaluation.candidates import describe_input, find_candidates
from tfod.export import onnx_converter
from tfod.export.exporter import export
from tfod.model import ExportFolder
from tfod.tiles import Tiles

pytestmark = pytest.mark.long

RAW = ("raw_detection_boxes", "raw_detection_scores")
TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def folder(tiled_run, tmp_path_factory):
    pytest.importorskip("tf2onnx")
    output = tmp_path_factory.mktemp("onnx") / "tiny"
    return ExportFolder(export(tiled_run, output, tflite=[], onnx=True))


def test_onnx_and_saved_model_give_equal_outputs(folder, images):
    onnx, saved_model = Detector.load(folder.onnx), Detector.load(folder.path)
    assert onnx.labels == saved_model.labels
    assert onnx.tiles == saved_model.tiles == Tiles(500)
    for image in [*images[:3], images[0][:51, :77], images[1][:, :, 0]]:
        expected, actual = (detector.predict(image, raw=True) for detector in (saved_model, onnx))
        assert expected.keys() == actual.keys()
        for name in ("num_detections", "detection_scores", *RAW):
            # The raw boxes of this hardly trained network extend to several image sizes.
            np.testing.assert_allclose(
                actual[name], expected[name], atol=1e-4, rtol=1e-3, err_msg=name
            )
            assert actual[name].dtype == expected[name].dtype
        # An untrained detector has nearly equal scores, which may change places.
        boxes, classes = actual["detection_boxes"], actual["detection_classes"]
        for box, class_id in zip(
            expected["detection_boxes"], expected["detection_classes"], strict=True
        ):
            distances = np.abs(boxes[classes == class_id] - box).max(axis=1)
            assert distances.min() < 1e-4
    for single, several in zip(map(onnx.predict, images), onnx.predict_all(images), strict=True):
        np.testing.assert_array_equal(single.boxes, several.boxes)


def test_parity_contains_the_onnx(folder):
    parity = pd.read_csv(folder.parity).set_index("model").loc["model.onnx"]
    assert parity["box_error"] < 1e-5 and parity["unmatched"] == 0
    assert parity[["MB", "ms_1", "ms_2"]].gt(0).all()


def test_onnx_is_compared_and_evaluated_as_other_models(folder, data, tmp_path):
    candidates = find_candidates([folder.path])
    assert [candidate.name for candidate in candidates] == ["tiny", "tiny/model.onnx"]
    assert describe_input(candidates[1]) == "96 x 96"
    assert not folder.operations.exists()
    alone = tmp_path / "model.onnx"
    shutil.copy(folder.onnx, alone)
    assert describe_input(find_candidates([alone])[0]) == "any"
    words = ["evaluate", "--model", str(alone), "--data", str(data.folder), "--split", "test"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "model_onnx_metrics.json").read_text())["images"] > 0


def test_onnx_runs_without_tensorflow(folder, images, tmp_path):
    image, alone = tmp_path / "street.png", tmp_path / "alone.onnx"
    Image.fromarray(images[0]).save(image)
    shutil.copy(folder.onnx, alone)
    code = f"""
import json, sys
from tfod.detection.detector import Detector
detections = Detector.load({str(alone)!r}).predict({str(image)!r})
heavy = {{"tensorflow", "object_detection", "onnx", "tf2onnx", "pandas", "cv2", "lxml"}}
print(json.dumps([len(detections), sorted(heavy & set(sys.modules))]))
"""
    environment = {"PYTHONPATH": str(TOOLS), "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    count, heavy = json.loads(result.stdout)
    assert count > 0 and heavy == []


def test_an_operation_that_onnx_lacks_is_one_line():
    """tf2onnx writes a file that no runtime can load."""
    import tensorflow as tf

    pytest.importorskip("tf2onnx")

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)], autograph=False)
    def detect(input_tensor):
        pixels = tf.cast(input_tensor, tf.float32)
        return {"detection_scores": tf.math.betainc(pixels, pixels, pixels / 255)}

    with pytest.raises(UserError, match="--onnx: cannot convert this model"):
        onnx_converter.convert_to_onnx(detect, {1: "cat"}, 0.5)


def test_missing_packages_are_one_line(folder, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="needs the package onnxruntime"):
        Detector.load(folder.onnx)
    monkeypatch.setattr(onnx_converter, "find_spec", {"onnx": "found"}.get)
    with pytest.raises(UserError, match="--onnx: needs the package onnxruntime and tf2onnx"):
        export(run, tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_corruption_does_not_crash(count, folder, sample_voc, tmp_path):
    image = shutil.copy(sorted((sample_voc / "images").iterdir())[0], tmp_path / "scene.jpg")
    model = shutil.copy(folder.onnx, tmp_path / "model.onnx")
    assert 0 < use_corrupted("model", model, image, model, count) < count


def test_damaged_files_are_one_line(folder, tmp_path):
    content = folder.onnx.read_bytes()
    path = tmp_path / "model.onnx"
    for damage in (b"", b"\0" * 100, content[:1000], content[: len(content) // 2]):
        path.write_bytes(damage)
        with pytest.raises(UserError, match="is corrupt, or was not written by `tfod export`"):
            Detector.load(path)
    with pytest.raises(UserError, match="cannot be read"):
        Detector.load(tmp_path / "missing.onnx")
    # Of another program: without labels.
    import onnx

    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="was not written by `tfod export`"):
        Detector.load(path)
