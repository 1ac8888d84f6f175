"""Tests whole training runs. They take more than half an hour: `pytest -m slow`.

A run that is killed ten times equals an uninterrupted one. Detectors overfit eight images, which
is possible only if targets, losses and post-processing are consistent.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lxml import etree

from helpers.checkpoints import assert_same, tf_latest, variables
from helpers.limits import scaled
from tfod.conversion.converter import convert
from tfod.dataset.records import read_records
from tfod.detection.detector import Detector
from tfod.evaluation.metrics import evaluate
from tfod.images import load_rgb
from tfod.model.pipeline import Options, read_pipeline, set_input_size, write_pipeline
from tfod.model.templates import find_template
from tfod.training.trainer import RunSettings, train

pytestmark = [pytest.mark.slow, pytest.mark.long]

STEPS = 300


def command(data, template: Path, output: Path) -> list[str]:
    options = {
        "--data": data.folder,
        "--pipeline": template,
        "--init": "scratch",
        "--output": output,
        "--steps": STEPS,
        "--batch-size": 2,
        "--checkpoint-every": 5,
        "--eval-every": 60,
    }
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-m", "tfod", "train", *words, "--deterministic"]


def test_run_killed_at_ten_random_times_equals_an_uninterrupted_one(data, tiny_template, tmp_path):
    """kill -9 at any time: in a step, in an evaluation, or while a checkpoint is written."""
    template = tmp_path / "averaged.config"
    pipeline = read_pipeline(tiny_template)
    pipeline.train_config.optimizer.use_moving_average = True
    pipeline.train_config.optimizer.moving_average_decay = 0.99
    write_pipeline(pipeline, template)
    tools = str(Path(__file__).parents[2] / "tools")
    rng = random.Random(0)
    reached = []
    for _ in range(10):
        process = subprocess.Popen(
            command(data, template, tmp_path / "killed"),
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": tools, "PATH": "/usr/bin:/bin"},
        )
        stderr, goal = b"", rng.randrange(20)
        while True:
            stderr += (part := process.stderr.read1())
            assert part, stderr.decode()
            steps = [int(number) for number in re.findall(rb"(\d+)/300", stderr)]
            steps = steps[steps.count(0) :]  # the bar of a resumed run starts at 0, then jumps
            if steps and steps[-1] - steps[0] >= goal:
                break
        time.sleep(scaled(rng.uniform(0, 0.3)))  # into the middle of a step or a checkpoint
        process.send_signal(signal.SIGKILL)
        stderr += process.stderr.read()
        process.wait()
        reached.append(int(re.findall(rb"(\d+)/300", stderr)[-1]))
    assert max(reached) < STEPS, "the run finished before the tenth kill"
    assert len(set(reached)) > 5 and max(reached) > 30, reached
    for name in ("killed", "whole"):
        subprocess.run(
            command(data, template, tmp_path / name),
            check=True,
            capture_output=True,
            env={"PYTHONPATH": tools, "PATH": "/usr/bin:/bin"},
        )
    for folder in (".", "best"):
        whole, killed = (
            variables(Path(tf_latest(tmp_path / name / folder))) for name in ("whole", "killed")
        )
        assert_same(whole, killed)


@pytest.fixture(scope="module")
def eight_images(shared, tmp_path_factory):
    """A data set of eight road-sign images: per class two with large objects of that class only."""
    signs, folder = shared / "roadsign", tmp_path_factory.mktemp("eight")
    by_class: dict[str, list[tuple[float, Path]]] = {}
    for path in sorted((signs / "annotations").glob("*.xml")):
        root = etree.parse(str(path)).getroot()
        names = {element.findtext("name") for element in root.findall("object")}
        size = [float(root.findtext(f"size/{edge}")) for edge in ("width", "height")]
        areas = [
            (float(box.findtext("xmax")) - float(box.findtext("xmin")))
            * (float(box.findtext("ymax")) - float(box.findtext("ymin")))
            / (size[0] * size[1])
            for box in root.iter("bndbox")
        ]
        if len(names) == 1:
            by_class.setdefault(names.pop(), []).append((min(areas), path))
    for name in ("annotations", "images"):
        (folder / name).mkdir()
    for rows in by_class.values():
        for _, path in sorted(rows, reverse=True)[:2]:
            shutil.copy(path, folder / "annotations")
            for image in (signs / "images").glob(f"{path.stem}.*"):
                shutil.copy(image, folder / "images")
    return convert(
        folder / "annotations", folder / "images", folder / "data", split=(1.0, 0.0, 0.0)
    )


@pytest.mark.parametrize(
    ("template", "size", "steps", "rate"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320", 192, 200, 1e-3),
        ("ssd_resnet50_v1_fpn_640x640", 160, 250, 5e-4),
        ("ssd_resnet101_v1_fpn_640x640", 160, 250, 5e-4),
        ("faster_rcnn_resnet50_v1_640x640", 128, 400, 5e-4),
        ("faster_rcnn_resnet50_fpn_640x640", 128, 400, 5e-4),
    ],
)
def test_detector_overfits_eight_images(
    template, size, steps, rate, eight_images, shared, tmp_path
):
    backbone = None  # `shared` contains no ResNet weights
    if "mobilenet" in template:
        backbone = shared / "backbones/mobilenet_v2_imagenet/mobilenet_v2.ckpt-1"
    assert eight_images.splits["train"].images == 8
    pipeline = read_pipeline(find_template(template))
    config = pipeline.train_config
    set_input_size(pipeline, size)
    if "faster" in template:
        pipeline.model.faster_rcnn.first_stage_max_proposals = 16
        pipeline.model.faster_rcnn.second_stage_batch_size = 16
    del config.data_augmentation_options[:]
    schedule = type(config.optimizer.momentum_optimizer.learning_rate)()
    schedule.CopyFrom(config.optimizer.momentum_optimizer.learning_rate)
    schedule.cosine_decay_learning_rate.warmup_steps = 20
    config.optimizer.Clear()
    config.optimizer.adam_optimizer.learning_rate.CopyFrom(schedule)
    config.optimizer.use_moving_average = False
    write_pipeline(pipeline, tmp_path / "small.config")
    options = Options(steps=steps, batch_size=8, learning_rate=rate, init=backbone)
    config_file, run = tmp_path / "small.config", tmp_path / "run"
    train(eight_images, str(config_file), run, options, RunSettings(keep=1))
    detector = Detector.load(run)
    records = list(read_records(eight_images.splits["train"].shards))
    detections = [detector.predict(load_rgb(record.image.data)) for record in records]
    ground_truth = [record.annotation for record in records]
    metrics = evaluate(ground_truth, detections, eight_images.classes.values())[0]
    print(f"{template} at {size} pixels, {steps} steps: {metrics.coco}")
    assert metrics.coco["AP50"] >= 0.9
