"""Tests `training.detection_choice`, and the commands that use what it chose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.detection.tflite_file import read_tflite
from tfod.model.run_folder import RunFolder
from tfod.training.detection_choice import MIN_GAIN, choose_detection

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def chosen(run, data, tmp_path_factory) -> RunFolder:
    """A copy of the run, for which the input size and the threshold were chosen."""
    folder = RunFolder(Path(shutil.copytree(run, tmp_path_factory.mktemp("chosen") / "tiny")))
    choose_detection(folder, data)
    return folder


def test_the_smallest_size_is_chosen_that_is_about_as_accurate_as_the_best(chosen):
    content = json.loads(chosen.detection.read_text())
    results = {result["input_size"]: result for result in content["val"]}
    assert list(results) == [96, 128]  # trained at 96
    best = max(result["ap"] for result in results.values())
    size = 96 if results[96]["ap"] >= best - MIN_GAIN else 128
    assert chosen.detection_size() == content["input_size"] == size
    assert chosen.threshold() == results[size]["threshold"]


def test_export_and_predict_use_the_chosen_size_and_threshold(chosen, sample_voc, tmp_path):
    # At 0.5, the default without a choice, this model detects nothing.
    chosen.detection.write_text(json.dumps({"input_size": 128, "threshold": 0.0}))
    exported, image = tmp_path / "exported", min((sample_voc / "images").iterdir())
    tfod("export", "--run", chosen.path, "--output", exported, "--tflite", "float32")
    file = read_tflite(exported / "model.tflite")
    assert (file.input.width, file.input.height, file.threshold) == (128, 128, 0.0)
    for model in (chosen.path, exported, exported / "model.tflite"):
        table = tmp_path / "detections.csv"
        tfod("predict", "--model", model, "--csv", table, image)
        assert len(table.read_text().splitlines()) == 101
        tfod("predict", "--model", model, "--csv", table, "--threshold", 0.5, image)
        assert len(table.read_text().splitlines()) == 1


def tfod(*arguments) -> None:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
