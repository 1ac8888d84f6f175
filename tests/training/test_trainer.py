"""Tests `training.trainer`: the files of a run, resuming, and evaluation."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from helpers.checkpoints import assert_same, tf_latest, variables
from helpers.limits import scaled
from tfod.cli import main
from tfod.dataset.records import read_records
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.evaluation.metrics import evaluate
from tfod.images import load_rgb
from tfod.model import zoo
from tfod.model.checkpoint import build_variables, checkpoint_type, restore_fine_tune_checkpoint
from tfod.model.detection_function import detection_function
from tfod.model.pipeline import (
    Options,
    learning_rate_schedule,
    read_pipeline,
    write_pipeline,
)
from tfod.model.templates import find_template
from tfod.training.trainer import RunSettings, train

pytestmark = pytest.mark.long

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
LOSS_PARTS = ("localization", "classification", "regularization")


def scalars(run: Path) -> dict[str, dict[int, float]]:
    """Returns the training scalars in TensorBoard: tag to step to value."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "train"), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def step_of(checkpoint: Path) -> int:
    return int(variables(checkpoint)["step" + SUFFIX])


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_folder_contains_everything_to_repeat_the_run(run, data):
    assert {path.name for path in run.iterdir()} >= {
        "checkpoint",
        "ckpt-1.index",
        "ckpt-2.index",
        "label_map.pbtxt",
        "pipeline.config",
        "run.json",
        "best",
        "metrics.csv",
        "train",
        "training.png",
        "val",
    }
    assert not list(run.parent.glob("*.partial"))
    pipeline = read_pipeline(run / "pipeline.config")
    assert pipeline.model.ssd.num_classes == len(data.classes)
    assert pipeline.train_config.num_steps == 4
    assert json.loads((run / "run.json").read_text())["seed"] == 0
    assert step_of(run / "ckpt-2") == 4


def test_tensorboard_contains_every_loss_and_the_learning_rate(run):
    tags = scalars(run)
    assert set(tags["Loss/total_loss"]) == {1, 2, 3, 4}
    for step, total in tags["Loss/total_loss"].items():
        parts = sum(tags[f"Loss/{part}_loss"][step] for part in LOSS_PARTS)
        assert total == pytest.approx(parts, rel=1e-4)
    rates = tags["learning_rate"]
    assert rates[1] > rates[2] > rates[4] > 0


def test_training_changes_the_weights_and_upstream_restores_them(run):
    """Restores the checkpoint into a model built by the OD API, as its exporter does."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(read_pipeline(run / "pipeline.config").model, is_training=False)
    status = tf.train.Checkpoint(model=model).restore(str(run / "ckpt-2"))
    images, shapes = model.preprocess(tf.zeros([1, 50, 80, 3]))
    model.postprocess(model.predict(images, shapes), shapes)
    status.expect_partial().assert_existing_objects_matched()
    first, last = variables(run / "ckpt-1"), variables(run / "ckpt-2")
    parts = ("classification_backbone/layer_with_weights-0/", "_fpn_features_generator/")
    for part in (*parts, "_box_prediction_head/", "_class_predict"):
        kernels = [name for name in first if part in name and "kernel" in name]
        assert kernels, part
        assert all(not np.array_equal(first[name], last[name]) for name in kernels), part


def test_repeating_the_command_of_a_finished_run_changes_nothing(run, data, tiny_template, options):
    before = {path: path.stat().st_mtime_ns for path in run.glob("ckpt*")}
    steps = []
    settings = RunSettings(checkpoint_every=2)
    best = train(data, str(tiny_template), run, options, settings, on_step=steps.append)
    assert (best.parent.name, steps) == ("best", [])
    assert before == {path: path.stat().st_mtime_ns for path in run.glob("ckpt*")}


@pytest.mark.usefixtures("stub_learner")
def test_run_resumes_offline_without_its_zoo_checkpoint(
    run, data, tiny_template, tmp_path, monkeypatch
):
    name, other = (f"ssd_mobilenet_v2_{kind}320x320_coco17_tpu-8" for kind in ("", "fpnlite_"))
    folder, output = tmp_path / "zoo" / name, tmp_path / "run"
    folder.mkdir(parents=True)
    for file in run.glob("ckpt-2.*"):
        shutil.copyfile(file, folder / file.name.replace("ckpt-2", "ckpt-0"))

    def fetch(archive, progress):
        if archive.name == name and folder.is_dir():
            return folder / "ckpt-0"
        raise UserError(archive.url, "cannot be downloaded", "Try later")

    def tfod_train(*options):
        arguments = ["train", "--data", data.folder, "--pipeline", tiny_template]
        arguments += ["--output", output, "--steps", 2, "--checkpoint-every", 1]
        return CliRunner().invoke(main, [str(argument) for argument in (*arguments, *options)])

    monkeypatch.setattr(zoo, "fetch_checkpoint", fetch)
    assert tfod_train("--init", name).exit_code == 0
    shutil.rmtree(folder)
    result = tfod_train("--init", name)
    assert result.exit_code == 0, result.output
    assert f"trained: {output / 'best'}" in result.output
    for options in (["--init", name, "--overwrite"], ["--init", other]):
        assert "cannot be downloaded" in tfod_train(*options).output


def test_other_settings_are_refused_and_the_run_is_kept(run, data, tiny_template, options):
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(UserError, match="contains a run with other settings"):
        train(data, str(tiny_template), run, replace(options, steps=3), RunSettings(0, 2))
    assert before == sorted(path.name for path in run.iterdir())


@pytest.mark.usefixtures("stub_learner")
def test_more_steps_continue_a_finished_run(data, tiny_template, tmp_path):
    output, settings = tmp_path / "run", RunSettings(eval_every=2)
    options, steps, notes = Options(steps=2, batch_size=2), [], []
    train(data, str(tiny_template), output, options, settings)
    options = replace(options, steps=5)
    train(
        *(data, str(tiny_template), output, options, settings),
        on_step=steps.append,
        on_note=notes.append,
    )
    assert [step.number for step in steps] == [3, 4, 5]
    assert step_of(Path(tf_latest(output))) == 5
    config = read_pipeline(output / "pipeline.config").train_config
    assert (config.num_steps, learning_rate_schedule(config).total_steps) == (5, 5)
    assert notes == [
        "the run continues after step 2 as one of 5 steps: its learning rate is 0.1 now, and "
        "decays until the last step"
    ]
    with pytest.raises(UserError, match="--steps was 5, now 4"):
        train(data, str(tiny_template), output, replace(options, steps=4), settings)


@pytest.mark.usefixtures("stub_learner")
def test_a_run_of_some_minutes_continues_with_more_steps(data, tiny_template, tmp_path):
    output = tmp_path / "run"
    minutes = RunSettings(minutes=0.001)
    train(data, str(tiny_template), output, Options(batch_size=2), minutes)
    done, config = step_of(Path(tf_latest(output))), output / "pipeline.config"
    for _ in range(2):  # the repeated command has nothing to do
        train(data, str(config), output, Options(steps=done + 3, batch_size=2), RunSettings())
        assert step_of(Path(tf_latest(output))) == done + 3


@pytest.mark.usefixtures("stub_learner")
def test_epochs_are_counted_in_images_of_the_train_split(data, tiny_template, tmp_path):
    output, images = tmp_path / "run", data.splits["train"].images
    steps, evaluations = [], []
    train(
        *(data, str(tiny_template), output, Options(epochs=1.5, batch_size=2), RunSettings()),
        on_step=steps.append,
        on_evaluation=evaluations.append,
    )
    assert len(steps) == math.ceil(1.5 * images / 2)
    assert [step.epoch for step in steps[:2]] == [2 / images, 4 / images]
    assert evaluations[-1].epoch == steps[-1].epoch >= 1.5
    table = pd.read_csv(output / "metrics.csv")
    assert table["epoch"].iloc[-1] == pytest.approx(steps[-1].epoch, abs=0.005)


@pytest.mark.usefixtures("stub_learner")
def test_ctrl_c_saves_the_current_step_and_its_evaluation_follows(data, tiny_template, tmp_path):
    def stop_at_two(step):
        if step.number == 2:
            raise KeyboardInterrupt

    output, options = tmp_path / "run", Options(steps=2, batch_size=2)
    settings = RunSettings(eval_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(data, str(tiny_template), output, options, settings, on_step=stop_at_two)
    assert step_of(output / "ckpt-1") == 2
    evaluations = []
    best = train(
        *(data, str(tiny_template), output, options, settings), on_evaluation=evaluations.append
    )
    assert [evaluation.step for evaluation in evaluations] == [2]
    assert best == output / "best" / "ckpt-2"


@pytest.mark.slow
def test_run_resumes_from_the_last_checkpoint_after_kill_9(data, shallow_template, tmp_path):
    output = tmp_path / "run"
    command = [sys.executable, "-m", "tfod", "train", "--data", data.folder, "--init", "scratch"]
    command += ["--pipeline", shallow_template, "--output", output, "--checkpoint-every", "3"]
    command += ["--steps", "400", "--batch-size", "2"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(list(map(str, command)), env=env, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + scaled(300)
        while not (output / "ckpt-2.index").exists():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    saved = step_of(Path(tf_latest(output)))
    assert 3 <= saved < 400  # 3 if the process was killed before it listed the second checkpoint

    class Enough(Exception):
        pass

    steps = []

    def watch(step):
        steps.append(step.number)
        if len(steps) == 4:
            raise Enough

    options, settings = Options(steps=400, batch_size=2), RunSettings(checkpoint_every=3)
    with pytest.raises(Enough):
        train(data, str(shallow_template), output, options, settings, on_step=watch)
    assert steps == [saved + 1, saved + 2, saved + 3, saved + 4]
    resumed = Path(tf_latest(output))
    assert step_of(resumed) == saved + 3
    momentum = [v for name, v in variables(resumed).items() if name.count("momentum")]
    assert momentum and all(np.isfinite(v).all() for v in momentum)


def test_detector_checkpoint_initializes_a_new_run(run, data, tiny_template, tmp_path):
    """Type detection restores the feature extractor, full the box predictor as well."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    prefix = run / "ckpt-2"
    assert checkpoint_type(prefix) == "detection"
    saved, pipeline = variables(prefix), read_pipeline(run / "pipeline.config")
    tf.keras.utils.set_random_seed(5)
    model = model_builder.build(pipeline.model, is_training=True)
    build_variables(model)
    for kind, predictor_equal in (("detection", False), ("full", True)):
        restore_fine_tune_checkpoint(model, prefix, kind)
        restored = variables(Path(tf.train.Checkpoint(model=model).write(str(tmp_path / kind))))
        kernels = [name for name in restored if "kernel" in name]
        extractor = [name for name in kernels if "_feature_extractor" in name]
        predictor = [name for name in kernels if "_box_predictor" in name]
        assert extractor and all(np.array_equal(restored[n], saved[n]) for n in extractor)
        assert predictor
        assert all(np.array_equal(restored[n], saved[n]) == predictor_equal for n in predictor)


def test_classification_backbone_is_restored(shared):
    from object_detection.builders import model_builder

    prefix = shared / "backbones" / "mobilenet_v2_imagenet" / "mobilenet_v2.ckpt-1"
    assert checkpoint_type(prefix) == "classification"
    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_fpnlite_320x320"))
    model = model_builder.build(pipeline.model, is_training=True)
    build_variables(model)
    restore_fine_tune_checkpoint(model, prefix, "classification")
    backbone = model._feature_extractor.classification_backbone
    saved = variables(prefix)
    weights = sum(variable.shape.num_elements() for variable in backbone.variables)
    sizes = [value.size for name, value in saved.items() if name.startswith("feature_extractor")]
    assert weights == sum(sizes) > 2e6
    first = "feature_extractor/layer_with_weights-0/kernel" + SUFFIX
    assert np.array_equal(saved[first], backbone.get_layer("Conv1").get_weights()[0])


def test_checkpoint_of_another_architecture_is_reported(run, data, tmp_path):
    options = Options(steps=1, batch_size=1, init=run / "ckpt-2")
    output = tmp_path / "run"
    with pytest.raises(UserError, match="another architecture") as error:
        train(data, "ssd_mobilenet_v2_320x320", output, options)
    assert str(error.value).startswith(str(run / "ckpt-2"))
    assert not output.exists() and not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_missing_or_damaged_checkpoint_is_reported(content, data, tiny_template, tmp_path):
    if content:
        (tmp_path / "ckpt-0.index").write_bytes(content)
    options = Options(steps=1, init=tmp_path / "ckpt-0")
    with pytest.raises(UserError, match=r"ckpt-0: (is not|cannot be read as) a checkpoint"):
        train(data, str(tiny_template), tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


def test_table_has_one_row_per_step_and_one_per_evaluation(run):
    assert [row["step"] for row in rows(run) if row["total_loss"]] == ["1", "2", "3", "4"]
    evaluations = [row for row in rows(run) if row["AP"]]
    assert [row["step"] for row in evaluations] == ["1", "2", "3", "4"]
    for row in evaluations:
        total = sum(float(row[f"val_{part}_loss"]) for part in LOSS_PARTS)
        assert float(row["val_total_loss"]) == pytest.approx(total, rel=1e-4)


def test_evaluation_during_training_equals_that_of_the_best_checkpoint(run, data):
    """The AP that selects a checkpoint is the one that `tfod evaluate` prints for it."""
    import tensorflow as tf

    stored = json.loads((run / "best/metrics.json").read_text())["coco"]
    detector = Detector.load(run)
    ground_truth, detections = [], []
    for record in read_records(data.splits["val"].shards):
        ground_truth.append(record.annotation)
        # `tfod evaluate` decodes with Pillow. Its JPEG pixels differ by 1 here and there, which
        # matters for a nearly untrained model.
        detections.append(detector.predict(tf.io.decode_image(record.image.data).numpy()))
    expected = evaluate(ground_truth, detections, data.classes.values())[0].coco
    assert stored == pytest.approx(expected, abs=1e-6)
    best = max((row for row in rows(run) if row["AP"]), key=lambda row: float(row["AP"]))
    assert float(best["AP"]) == pytest.approx(stored["AP"], abs=1e-6)
    assert (run / f"best/ckpt-{best['step']}.index").is_file()


def test_detector_of_a_run_is_traced_once_for_all_threads(run, data, monkeypatch):
    traced = []

    def keep(model):
        traced.append(detection_function(model))
        return traced[-1]

    monkeypatch.setattr("tfod.model.detection_function.detection_function", keep)
    detector = Detector.load(run)
    (function,) = traced
    assert function.experimental_get_tracing_count() == 1
    pixels = [load_rgb(record.image.data) for record in read_records(data.splits["val"].shards)]
    assert len(list(detector.predict_all(pixels))) == len(pixels)
    assert function.experimental_get_tracing_count() == 1


def test_tensorboard_contains_validation_images_and_ap(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "val"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"DetectionBoxes/AP", "Loss/total_loss", "ground_truth_and_detections/0"} <= tags


@pytest.mark.usefixtures("stub_learner")
def test_patience_stops_a_run_that_does_not_improve(data, tiny_template, tmp_path):
    options = Options(steps=40, batch_size=2, learning_rate=1e-9)
    settings = RunSettings(eval_every=2, patience=2)
    evaluations, output = [], tmp_path / "run"

    def train_steps():
        steps = []
        train(
            *(data, str(tiny_template), output, options, settings),
            on_step=lambda step: steps.append(step.number),
            on_evaluation=evaluations.append,
        )
        return steps

    steps = train_steps()
    assert [evaluation.best for evaluation in evaluations][-2:] == [False, False]
    assert steps[-1] == evaluations[-1].step < 40
    assert step_of(Path(tf_latest(output))) == steps[-1]
    assert train_steps() == []  # repeating the command does not continue the run


@pytest.fixture(scope="module")
def train_averaged(data, shallow_template, run, tmp_path_factory):
    """Trains deterministically, with frozen layers and averaged weights, and saves every step."""
    from tensorflow.python.framework import config

    pipeline = read_pipeline(shallow_template)
    pipeline.train_config.freeze_variables.append("(Conv1|bn_Conv1|expanded_conv)")
    pipeline.train_config.optimizer.use_moving_average = True
    pipeline.train_config.optimizer.moving_average_decay = 0.9
    template = tmp_path_factory.mktemp("averaged") / "averaged.config"
    write_pipeline(pipeline, template)
    options = Options(steps=12, batch_size=2, init=run / "ckpt-2")
    settings = RunSettings(checkpoint_every=1, keep=12, eval_every=4, seed=3, deterministic=True)
    yield partial(train, data, str(template), options=options, settings=settings)
    config.disable_op_determinism()


@pytest.fixture(scope="module")
def averaged_run(train_averaged, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("averaged") / "run"
    train_averaged(output=output)
    return output


def test_killed_and_resumed_run_equals_an_uninterrupted_one(train_averaged, averaged_run, tmp_path):
    """Weights, momentum, averages and training losses are bit-identical."""

    class Kill(Exception):
        pass

    def kill(step):
        if step.number == 9:
            raise Kill

    resumed = tmp_path / "run"
    with pytest.raises(Kill):
        train_averaged(output=resumed, on_step=kill)
    steps = []
    train_averaged(output=resumed, on_step=lambda step: steps.append(step.number))
    assert steps == [9, 10, 11, 12]
    expected, actual = (variables(folder / "ckpt-12") for folder in (averaged_run, resumed))
    assert any(name.startswith("average/") for name in expected)
    assert_same(expected, actual)
    tables = [
        [[row[name] for name in ("step", "total_loss", "learning_rate")] for row in rows(folder)]
        for folder in (averaged_run, resumed)
    ]
    assert tables[0] == tables[1]
    best = [variables(Path(tf_latest(folder / "best"))) for folder in (averaged_run, resumed)]
    assert_same(*best)


def test_frozen_layers_are_not_trained(averaged_run):
    first, last = (variables(averaged_run / f"ckpt-{step}") for step in (1, 2))
    backbone = "model/_feature_extractor/classification_backbone/layer_with_weights-"
    same = {name for name in first if np.array_equal(first[name], last[name])}
    # Conv1, bn_Conv1 and expanded_conv: three convolutions, each followed by its batch norm.
    frozen = {name for name in first if name.startswith(tuple(f"{backbone}{n}/" for n in range(6)))}
    assert len(frozen) > 10 and frozen <= same
    assert not any(name.startswith(f"{backbone}6/") for name in same)
    assert not any("momentum" in name for name in frozen)


def test_best_checkpoint_contains_the_averaged_weights(averaged_run):
    best = Path(tf_latest(averaged_run / "best"))
    current = variables(averaged_run / best.name)  # of the same step
    averages = [value for name, value in current.items() if name.startswith("average/")]
    kernels = {k: v for k, v in variables(best).items() if k.endswith("kernel" + SUFFIX)}
    frozen = {name for name in kernels if np.array_equal(kernels[name], current[name])}
    assert 0 < len(frozen) < len(kernels) / 2
    for name in kernels.keys() - frozen:
        assert any(np.array_equal(kernels[name], average) for average in averages), name
