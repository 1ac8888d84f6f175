"""Training: what a run folder holds, resuming after kill -9, refusing what does not fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import replace
from tfod.checkpoint import build_variables, checkpoint_type, restore_fine_tune_checkpoint
from tfod.errors import UserError
from tfod.pipeline import Options, find_template, read_pipeline
from tfod.training import RunSettings, train

pytestmark = pytest.mark.long


def variables(checkpoint: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE")
    }


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
        "train",
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
    last = train(data, str(tiny_template), run, options, settings, on_step=steps.append)
    assert (last.name, steps) == ("ckpt-2", [])
    assert before == {path: path.stat().st_mtime_ns for path in run.glob("ckpt*")}


def test_other_settings_are_refused_and_the_run_is_kept(run, data, tiny_template, options):
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(UserError, match="holds a run with other settings"):
        train(data, str(tiny_template), run, replace(options, steps=9), RunSettings(0, 2))
    assert before == sorted(path.name for path in run.iterdir())


def test_ctrl_c_saves_the_step_it_reached(data, tiny_template, tmp_path):
    def stop_after_two(step):
        if step.number == 2:
            raise KeyboardInterrupt

    output, options = tmp_path / "run", Options(steps=5, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        train(data, str(tiny_template), output, options, on_step=stop_after_two)
    assert step_of(output / "ckpt-1") == 2


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
    assert 6 <= saved < 400

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
