"""Tests `training.detection_choice`, and the commands that use what it chose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

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


@pytest.mark.slow
def test_too_little_memory_for_the_choice_keeps_the_run_and_the_same_command_chooses(
    run, data, tmp_path, monkeypatch
):
    folder = RunFolder(Path(shutil.copytree(run, tmp_path / "tiny")))
    settings = json.loads(folder.settings.read_text())
    folder.settings.write_text(json.dumps(settings | {"detection_sizes": True}))
    command = ["train", "--data", data.folder, "--output", folder.path, "--init", "scratch"]
    command += ["--checkpoint-every", 2]  # as this run
    decode = tf.io.decode_image

    def exhaust_memory(*arguments, **options):
        if tf.executing_eagerly():  # not in the input pipeline of the training
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return decode(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tf.io, "decode_image", exhaust_memory)
        result = invoke(*command)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"tfod: {folder.path}: is trained, but the memory is too small to choose its input size. "
        "Stop other programs that use the memory and repeat the command, without --overwrite: it "
        "continues there. tfod export works without this choice."
    )
    checkpoint = folder.checkpoint().with_suffix(".index").read_bytes()
    assert folder.detection_size() is None
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    assert f"best on val: input size {folder.detection_size()} x " in result.stdout
    assert folder.checkpoint().with_suffix(".index").read_bytes() == checkpoint


def tfod(*arguments) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output


def invoke(*arguments) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])
