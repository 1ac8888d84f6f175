"""Tests `tfod train` and `tfod plan` without a pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.detection.detector import Detector
from tfod.model.pipeline import read_pipeline
from tfod.tiles import Tiles


def tfod(*arguments) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.long
def test_train_configures_itself_and_resumes(data, tmp_path):
    run, tiled = tmp_path / "run", tmp_path / "tiled"
    shutil.copytree(data.folder, tiled)
    manifest = json.loads((tiled / "dataset.json").read_text())
    tiles = {"tiles": {"size": 500, "overlap": 0.25}}
    (tiled / "dataset.json").write_text(json.dumps(manifest | tiles))
    command = ["train", "--data", tiled, "--output", run, "--init", "scratch"]
    command += ["--input-size", 96, "--steps", 2, "--batch-size", 2, "--no-balance"]
    output = tfod(*command)
    settings = json.loads((run / "run.json").read_text())
    assert settings["losses"] == "tight"
    assert (settings["balance"], settings["minutes"]) == (False, None)  # as the options say
    detection = json.loads((run / "detection.json").read_text())
    size, threshold = detection["input_size"], detection["threshold"]
    assert Detector.load(run).tiles == Tiles(500, 0.25)
    assert f"best on val: input size {size} x {size}, threshold {threshold:.2f}" in output
    (run / "detection.json").write_text(json.dumps({**detection, "threshold": 0.25}))
    again = tfod(*command)  # nothing is left to train
    assert again.splitlines()[-3:] == [
        f"best on val: input size {size} x {size}, threshold 0.25",
        *output.splitlines()[-2:],
    ]
    plan = (run / "plan.md").read_text()
    assert "- training size: 96 x 96 pixels\n  - because --input-size says so\n" in plan
    given = {"steps": "--steps 2", "batch size": "--batch-size 2", "class balance": "--no-balance"}
    chosen = choices(plan)
    assert {what: chosen[what].split("\n")[0] for what in given} == given
    assert chosen["steps"].endswith("\n  - as you asked for")
    options = ["--init", "scratch", "--input-size", 96, "--steps", 2, "--batch-size", 2]
    assert tfod("plan", "--data", tiled, *options, "--no-balance") == plan


@pytest.mark.slow
def test_an_earlier_detector_keeps_its_model_and_classes(data, tmp_path):
    run, larger = tmp_path / "run", tmp_path / "larger"
    options = ["--init", "scratch", "--input-size", 96, "--steps", 1, "--batch-size", 2]
    tfod("train", "--data", data.folder, "--output", run, *options)
    again = ["train", "--data", data.folder, "--output", larger, "--steps", 1, "--init", run]
    result = CliRunner().invoke(main, [str(word) for word in again])
    assert result.exit_code == 0, result.output
    names = ", ".join(data.classes.values())
    assert f"note: starts with what the initial detector knows about {names}\n" in result.stderr
    plan = (larger / "plan.md").read_text()
    assert tfod("plan", "--data", data.folder, "--steps", 1, "--init", run) == plan
    kept = choices(plan)
    assert kept["model"].startswith(f"that of {run}\n")
    assert kept["training size"].startswith("96 x 96 pixels\n")
    used = read_pipeline(larger / "pipeline.config").train_config.fine_tune_checkpoint
    assert Path(used).parent == run / "best"
    shutil.rmtree(run)  # the new run does not need it any more
    assert "trained: " in tfod(*again)


def choices(plan: str) -> dict[str, str]:
    """Returns the choices in plan.md, with value and reason."""
    return dict(part.rstrip("\n").split(": ", 1) for part in f"{plan}\n".split("\n- ")[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--steps 5 --minutes 2", "--minutes: cannot be combined with --steps."),
        ("--steps 5 --epochs 2", "--epochs: cannot be combined with --steps."),
        ("--learning-rate 0", "--learning-rate: is 0.0. Give a number above 0."),
        ("--first-input-size 640 --input-size 320", "is larger than the training size of 320"),
        ("--init missing", "missing: is not a checkpoint."),
    ],
)
def test_plan_refuses_what_train_refuses(data, options, message):
    result = CliRunner().invoke(main, ["plan", "--data", str(data.folder), *options.split()])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]


def test_several_machines_need_a_pipeline(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    for command in (["train", "--output", str(tmp_path / "run")], ["plan"]):
        result = CliRunner().invoke(main, [*command, "--data", str(data.folder)])
        assert result.exit_code == 2
        assert result.stderr.endswith(
            "tfod: --pipeline: auto does not work with several machines, and TF_CONFIG is set. "
            "Give a template, or the pipeline.config of a run.\n"
        )
    assert not (tmp_path / "run").exists()
