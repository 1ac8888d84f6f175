"""Tests the detector of road signs that comes with tfod."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.commands.options import SHIPPED_MODEL
from tfod.detection.detector import Detector
from tfod.detection.prediction import predict_records
from tfod.evaluation.metrics import evaluate

FOLDER = SHIPPED_MODEL.parent
FILES = [SHIPPED_MODEL.name, "model_int8.tflite"]


@pytest.mark.parametrize("name", FILES)
def test_finds_signs_in_drawn_streets(name, data):
    detector = Detector.load(FOLDER / name)
    stored = json.loads((FOLDER / "detection.json").read_text())["threshold"]
    assert detector.threshold == pytest.approx(stored)
    assert list(detector.labels.values()) == (FOLDER / "labels.txt").read_text().splitlines()
    shards = [shard for split in data.splits.values() for shard in split.shards]
    annotations, detections = zip(*predict_records(detector, shards), strict=True)
    metrics, _ = evaluate(annotations, detections, detector.labels.values())
    assert metrics.coco["AP50"] > 0.4  # it was trained on photos only


@pytest.mark.parametrize("name", FILES)
def test_raw_outputs_are_zero_after_the_last_detection(name, sample_voc):
    detector = Detector.load(FOLDER / name)
    spare = 0
    for image in sorted((sample_voc / "images").iterdir()):
        outputs = detector.predict(image, raw=True)
        count = int(outputs["num_detections"])
        spare += len(outputs["detection_scores"]) - count
        assert np.isfinite(outputs["detection_boxes"]).all()
        assert not outputs["detection_scores"][count:].any()
        assert not outputs["detection_boxes"][count:].any()
    assert spare


def test_predict_deletes_what_a_killed_process_left(sample_voc, tmp_path):
    table, entries = tmp_path / "a.csv", tmp_path / "a.json"
    command = ["predict", "--csv", str(table), "--json", str(entries), str(sample_voc / "images")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-m", "tfod", *command], env=environment)
    while not (tmp_path / "a.csv.partial" / "new" / "a.csv").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()  # before it has loaded the model
    process.wait()
    left = {"a.csv.partial", "a.json.partial"}
    assert {path.name for path in tmp_path.iterdir()} == left
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.json"}
    assert len(table.read_text().splitlines()) == 1 + len(json.loads(entries.read_text())) > 1


def test_predict_uses_it_without_model(sample_voc):
    images = str(sample_voc / "images")
    results = [
        CliRunner().invoke(main, ["predict", *model, images])
        for model in ([], ["--model", str(SHIPPED_MODEL)])
    ]
    assert results[0].stdout == results[1].stdout and "%" in results[0].stdout
    count = len(results[0].stdout.splitlines())
    assert re.search(
        rf"model loaded in \d+\.\d s; {count} images in \d+\.\d s, \d+ ms each", results[0].stderr
    )


def test_other_installations_need_a_model(sample_voc, tmp_path, monkeypatch):
    monkeypatch.setattr("tfod.commands.options.SHIPPED_MODEL", tmp_path / "model.tflite")
    for command in (["predict", str(sample_voc)], ["live"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2
        assert result.stderr == (
            "tfod: --model: is missing. Give a model written by tfod export.\n"
        )


def test_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12e6
