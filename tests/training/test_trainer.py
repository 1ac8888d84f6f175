"""Training: what a run folder holds, resuming after kill -9, refusing what does not fit."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.checkpoints import assert_same, tf_latest, variables
from tfod.dataset.records import read_records
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.evaluation.metrics import evaluate
from tfod.model.checkpoint import build_variables, checkpoint_type, restore_fine_tune_checkpoint
from tfod.model.pipeline import Options, read_pipeline, write_pipeline
from tfod.model.templates import find_template
from tfod.training.trainer import RunSettings, train

pytestmark = pytest.mark.long

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def scalars(run: Path) -> dict[str, dict[int, float]]:
    """TensorBoard scalars: tag to step to value."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "train"), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def step_of(checkpoint: Path) -> int:
    return int(variables(checkpoint)["step/.ATTRIBUTES/VARIABLE_VALUE"])


def test_a_run_folder_holds_what_repeats_it(run, data):
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


def test_tensorboard_gets_every_loss_and_the_schedule(run):
    tags = scalars(run)
    assert set(tags["Loss/total_loss"]) == {1, 2, 3, 4}
    parts = ("localization", "classification", "regularization")
    for step, total in tags["Loss/total_loss"].items():
        assert total == pytest.approx(sum(tags[f"Loss/{p}_loss"][step] for p in parts), rel=1e-4)
    rates = tags["learning_rate"]
    assert rates[1] > rates[2] > rates[4] > 0


def test_weights_change_and_upstream_restores_them(run):
    """The OD API's own exporter code restores our checkpoint into its own model."""
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


def test_the_same_command_on_a_finished_run_does_nothing(run, data, tiny_template, options):
    before = {path: path.stat().st_mtime_ns for path in run.glob("ckpt*")}
    steps = []
    settings = RunSettings(checkpoint_every=2)
    best = train(data, str(tiny_template), run, options, settings, on_step=steps.append)
    assert (best.parent.name, steps) == ("best", [])
    assert before == {path: path.stat().st_mtime_ns for path in run.glob("ckpt*")}


def test_other_settings_are_refused_and_the_run_is_kept(run, data, tiny_template, options):
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(UserError, match="holds a run with other settings"):
        train(data, str(tiny_template), run, replace(options, steps=9), RunSettings(0, 2))
    assert before == sorted(path.name for path in run.iterdir())


def test_ctrl_c_saves_the_step_it_reached_and_its_evaluation_follows(data, tiny_template, tmp_path):
    def stop_at_two(step):
        if step.number == 2:
            raise KeyboardInterrupt

    output, options = tmp_path / "run", Options(steps=2, batch_size=2)
    settings = RunSettings(eval_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(data, str(tiny_template), output, options, settings, on_step=stop_at_two)
    assert step_of(output / "ckpt-1") == 2
    judged = []
    best = train(
        *(data, str(tiny_template), output, options, settings), on_evaluation=judged.append
    )
    assert [each.step for each in judged] == [2]
    assert best == output / "best" / "ckpt-2"


def test_kill_9_resumes_from_the_last_checkpoint(data, tiny_template, tmp_path):
    output = tmp_path / "run"
    command = [sys.executable, "-m", "tfod", "train", "--data", data.folder, "--init", "scratch"]
    command += ["--pipeline", tiny_template, "--output", output, "--checkpoint-every", "3"]
    command += ["--steps", "400", "--batch-size", "2"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(list(map(str, command)), env=env, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 300
        while not (output / "ckpt-2.index").exists():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    import tensorflow as tf

    saved = step_of(Path(tf.train.latest_checkpoint(str(output))))
    assert 3 <= saved < 400  # 3 where it struck before the second one was listed

    class Enough(Exception):
        pass

    steps = []

    def watch(step):
        steps.append(step.number)
        if len(steps) == 4:
            raise Enough

    options, settings = Options(steps=400, batch_size=2), RunSettings(checkpoint_every=3)
    with pytest.raises(Enough):
        train(data, str(tiny_template), output, options, settings, on_step=watch)
    assert steps == [saved + 1, saved + 2, saved + 3, saved + 4]
    resumed = Path(tf.train.latest_checkpoint(str(output)))
    assert step_of(resumed) == saved + 3
    momentum = [v for name, v in variables(resumed).items() if name.count("momentum")]
    assert momentum and all(np.isfinite(v).all() for v in momentum)


def test_a_detector_checkpoint_starts_a_new_run(run, data, tiny_template, tmp_path):
    """Type detection takes the feature extractor, full the box predictor as well."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    prefix = run / "ckpt-2"
    assert checkpoint_type(prefix) == "detection"
    saved, pipeline = variables(prefix), read_pipeline(run / "pipeline.config")
    for kind, predictor_equal in (("detection", False), ("full", True)):
        tf.keras.utils.set_random_seed(5)
        model = model_builder.build(pipeline.model, is_training=True)
        build_variables(model)
        restore_fine_tune_checkpoint(model, prefix, kind)
        again = Path(tf.train.Checkpoint(model=model).write(str(tmp_path / kind)))
        now = variables(again)
        kernels = [name for name in now if "kernel" in name]
        extractor = [name for name in kernels if "_feature_extractor" in name]
        predictor = [name for name in kernels if "_box_predictor" in name]
        assert extractor and all(np.array_equal(now[n], saved[n]) for n in extractor)
        assert predictor
        assert all(np.array_equal(now[n], saved[n]) == predictor_equal for n in predictor)


def test_a_classification_backbone_is_restored(shared):
    from object_detection.builders import model_builder

    prefix = shared / "backbones" / "mobilenet_v2_imagenet" / "mobilenet_v2.ckpt-1"
    assert checkpoint_type(prefix) == "classification"
    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_fpnlite_320x320"))
    model = model_builder.build(pipeline.model, is_training=True)
    build_variables(model)
    restore_fine_tune_checkpoint(model, prefix, "classification")
    backbone = model._feature_extractor.classification_backbone
    saved = variables(prefix)
    number = sum(variable.shape.num_elements() for variable in backbone.variables)
    counted = [value.size for name, value in saved.items() if name.startswith("feature_extractor")]
    assert number == sum(counted) > 2e6
    first = "feature_extractor/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    assert np.array_equal(saved[first], backbone.get_layer("Conv1").get_weights()[0])


def test_a_checkpoint_of_another_architecture_is_one_line(run, data, tmp_path):
    options = Options(steps=1, batch_size=1, init=run / "ckpt-2")
    output = tmp_path / "run"
    with pytest.raises(UserError, match="another architecture") as error:
        train(data, "ssd_mobilenet_v2_320x320", output, options)
    assert str(error.value).startswith(str(run / "ckpt-2"))
    assert not output.exists() and not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_what_is_no_checkpoint_is_one_line(content, data, tiny_template, tmp_path):
    if content:
        (tmp_path / "ckpt-0.index").write_bytes(content)
    options = Options(steps=1, init=tmp_path / "ckpt-0")
    with pytest.raises(UserError, match=r"ckpt-0: (is not|cannot be read as) a checkpoint"):
        train(data, str(tiny_template), tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_a_step_and_one_an_evaluation(run):
    assert [row["step"] for row in rows(run) if row["total_loss"]] == ["1", "2", "3", "4"]
    judged = [row for row in rows(run) if row["AP"]]
    assert [row["step"] for row in judged] == ["1", "2", "3", "4"]
    for row in judged:
        parts = ("localization", "classification", "regularization")
        total = sum(float(row[f"val_{part}_loss"]) for part in parts)
        assert float(row["val_total_loss"]) == pytest.approx(total, rel=1e-4)


def test_evaluation_while_training_is_that_of_the_best_checkpoint(run, data):
    """The AP that chose a checkpoint is what `tfod evaluate` says of it."""
    import tensorflow as tf

    kept = json.loads((run / "best/metrics.json").read_text())["coco"]
    detector = Detector.load(run)
    truths, found = [], []
    for record in read_records(data.splits["val"].shards):
        truths.append(record.annotation)
        # `tfod evaluate` decodes by Pillow, whose JPEG pixels differ by 1 here and there, and an
        # all but untrained model makes much of that.
        found.append(detector.predict(tf.io.decode_image(record.image.data).numpy()))
    again = evaluate(truths, found, data.classes.values())[0].coco
    assert kept == pytest.approx(again, abs=1e-6)
    best = max((row for row in rows(run) if row["AP"]), key=lambda row: float(row["AP"]))
    assert float(best["AP"]) == pytest.approx(kept["AP"], abs=1e-6)
    assert (run / f"best/ckpt-{best['step']}.index").is_file()


def test_tensorboard_gets_pictures_and_ap(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "val"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"DetectionBoxes/AP", "Loss/total_loss", "ground_truth_and_detections/0"} <= tags


def test_patience_ends_a_run_that_gets_no_better(data, tiny_template, tmp_path):
    options = Options(steps=40, batch_size=2, learning_rate=1e-9)
    settings = RunSettings(eval_every=2, patience=2)
    judged, output = [], tmp_path / "run"

    def again():
        steps = []
        train(
            *(data, str(tiny_template), output, options, settings),
            on_step=lambda step: steps.append(step.number),
            on_evaluation=judged.append,
        )
        return steps

    steps = again()
    assert [each.best for each in judged][-2:] == [False, False]
    assert steps[-1] == judged[-1].step < 40
    assert step_of(Path(tf_latest(output))) == steps[-1]
    assert again() == []  # it is over, also for who repeats the command


def test_an_exploding_loss_is_one_line_and_the_last_checkpoint_stays(data, tiny_template, tmp_path):
    options = Options(steps=30, batch_size=2, learning_rate=1e12)
    output = tmp_path / "run"
    with pytest.raises(UserError) as caught:
        settings = RunSettings(checkpoint_every=1, eval_every=30)
        train(data, str(tiny_template), output, options, settings)
    line = str(caught.value)
    assert line.startswith(f"{output}: the loss of step ")
    assert "Train anew with a --learning-rate below" in line
    kept = Path(tf_latest(output))
    assert f"{kept} is from before" in line
    assert 1 <= step_of(kept) < 30


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("OOM when allocating tensor", "--batch-size: is 3, and so many pictures do not fit"),
        ("events; No space left on device", "run: cannot be written: events; No space left"),
    ],
)
def test_what_ran_out_is_one_line(data, tiny_template, tmp_path, reason, line):
    import tensorflow as tf

    def run_out(step):  # in TensorFlow's words: of a GPU's memory, and of a disk
        raise tf.errors.ResourceExhaustedError(None, None, reason)

    with pytest.raises(UserError, match=line):
        train(data, str(tiny_template), tmp_path / "run", Options(batch_size=3), on_step=run_out)


@pytest.fixture
def deterministic():
    """Lets a test train deterministically, and those after it not."""
    from tensorflow.python.framework import config

    yield
    config.disable_op_determinism()


def test_a_full_disk_is_one_line(data, tiny_template, tmp_path):
    output, kept = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill_up(step):
        if step.number == 2:  # files end at 100 kB from here on, less than a checkpoint
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, kept[1]))

    settings = RunSettings(checkpoint_every=2, eval_every=5)
    try:
        with pytest.raises(UserError) as caught:
            options = Options(steps=5, batch_size=2)
            train(data, str(tiny_template), output, options, settings, on_step=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value).startswith(f"{output}: cannot be written: ")
    assert "repeat the command: it goes on from there" in str(caught.value)


@pytest.mark.usefixtures("deterministic")
def test_killed_and_resumed_is_the_same_as_never_killed(data, tiny_template, tmp_path):
    """Weights, momentum, averages and what the table says of training are equal to the last bit."""
    options = Options(steps=12, batch_size=2)
    settings = RunSettings(checkpoint_every=1, eval_every=4, seed=3, deterministic=True)
    template = tmp_path / "averaged.config"
    pipeline = read_pipeline(tiny_template)
    pipeline.train_config.optimizer.use_moving_average = True
    pipeline.train_config.optimizer.moving_average_decay = 0.9
    write_pipeline(pipeline, template)

    class Kill(Exception):
        pass

    def run(output: Path, kill_at: int = 0) -> None:
        def on_step(step):
            if step.number == kill_at:
                raise Kill

        train(data, str(template), output, options, settings, on_step=on_step)

    run(tmp_path / "whole")
    for moment in (3, 9):
        with pytest.raises(Kill):
            run(tmp_path / "killed", kill_at=moment)
    run(tmp_path / "killed")
    whole, killed = (variables(Path(tf_latest(tmp_path / n))) for n in ("whole", "killed"))
    assert any(name.startswith("average/") for name in whole)
    assert_same(whole, killed)
    tables = [
        [[row[name] for name in ("step", "total_loss", "learning_rate")] for row in rows(folder)]
        for folder in (tmp_path / "whole", tmp_path / "killed")
    ]
    assert tables[0] == tables[1]
    best = [variables(Path(tf_latest(tmp_path / name / "best"))) for name in ("whole", "killed")]
    assert_same(*best)


def test_frozen_layers_stay_and_the_best_checkpoint_has_the_averages(
    data, tiny_template, run, tmp_path
):
    pipeline = read_pipeline(tiny_template)
    config = pipeline.train_config
    config.freeze_variables.append("(Conv1|bn_Conv1|expanded_conv)")
    config.optimizer.use_moving_average = True
    config.optimizer.moving_average_decay = 0.9
    write_pipeline(pipeline, tmp_path / "frozen.config")
    options = Options(steps=2, batch_size=2, init=run / "ckpt-2")
    settings = RunSettings(checkpoint_every=1)
    train(data, str(tmp_path / "frozen.config"), tmp_path / "run", options, settings)
    first, last = (variables(tmp_path / f"run/ckpt-{number}") for number in (1, 2))
    backbone = "model/_feature_extractor/classification_backbone/layer_with_weights-"
    same = {name for name in first if np.array_equal(first[name], last[name])}
    # Conv1, bn_Conv1 and the five of expanded_conv: a convolution and its batch norm in turns.
    frozen = {name for name in first if name.startswith(tuple(f"{backbone}{n}/" for n in range(6)))}
    assert len(frozen) > 10 and frozen <= same
    assert not any(name.startswith(f"{backbone}6/") for name in same)
    assert not any("momentum" in name for name in frozen)

    steps = {1: first, 2: last}
    (index,) = (tmp_path / "run/best").glob("*.index")
    best = variables(index.with_suffix(""))
    then = steps[int(index.stem.removeprefix("ckpt-"))]
    averages = [value for name, value in then.items() if name.startswith("average/")]
    kept = [value for name, value in best.items() if name.endswith("kernel" + SUFFIX)]
    trained = [v for v in kept if not any(np.array_equal(v, then[n]) for n in frozen)]
    assert trained
    for value in trained:
        assert any(np.array_equal(value, average) for average in averages)
