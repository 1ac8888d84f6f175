"""Tests `training.loss_scaling`: what scaling changes, overflows, and the scale in checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from helpers.checkpoints import assert_same, variables
from tfod.model.pipeline import Options, configure
from tfod.training.events import TOTAL_LOSS
from tfod.training.input import training_batches
from tfod.training.learner import Learner
from tfod.training.loss_scaling import INITIAL_SCALE, VARIABLES, restore, scale_losses, was_skipped
from tfod.training.precision import FLOAT16
from tfod.training.settings import RunSettings
from tfod.upstream.internals import create_slots

SGD = tf.keras.optimizers.legacy.SGD


class Product:
    """Two weights whose products with 1 are computed in float16, and an optimizer with momentum."""

    def __init__(self, **options) -> None:
        self.weights = tf.Variable([1.0, 2.0])
        optimizer = SGD(0.5, momentum=0.5)
        create_slots(optimizer, [self.weights])
        self.optimizer = scale_losses(optimizer, **options)
        self.traced_step = tf.function(self.step, autograph=False)

    @property
    def scale(self) -> float:
        return float(self.optimizer.loss_scale)

    def checkpoint(self) -> tf.train.Checkpoint:
        return tf.train.Checkpoint(model=self.weights, optimizer=self.optimizer)

    def step(self, gradient: tf.Tensor) -> None:
        """Trains with this gradient of each weight, which the backward pass has in float16."""
        with tf.GradientTape() as tape:
            products = tf.cast(self.weights, tf.float16) * tf.constant(1, tf.float16)
            loss = tf.reduce_sum(gradient * tf.cast(products, tf.float32))
            loss = self.optimizer.get_scaled_loss(loss)
        gradients = self.optimizer.get_unscaled_gradients(tape.gradient(loss, [self.weights]))
        self.optimizer.apply_gradients(zip(gradients, [self.weights], strict=True))

    def train(self, gradient: float) -> bool:
        """Returns whether the step was skipped."""
        before = self.scale
        self.traced_step(tf.constant(gradient))
        return was_skipped(self.optimizer, before)

    def state(self) -> list[float]:
        """Returns the weights and their momentum."""
        return [*self.weights.numpy(), *self.optimizer.get_slot(self.weights, "momentum").numpy()]


def test_scaling_keeps_a_gradient_that_is_0_in_float16():
    gradient = np.float32(2.0**-26)
    assert np.float16(gradient) == 0
    product = Product()
    assert not product.train(gradient)
    assert product.state()[2:] == [-0.5 * gradient] * 2


def test_an_overflow_skips_the_step_and_halves_the_scale():
    product = Product()
    assert not product.train(1.0)
    before = product.state()
    assert float(np.finfo(np.float16).max) < 3 * INITIAL_SCALE
    assert product.train(3.0)
    assert product.state() == before
    assert product.scale == INITIAL_SCALE / 2
    assert int(product.optimizer.iterations) == 2
    assert not product.train(3.0)
    assert product.state() != before
    assert product.scale == INITIAL_SCALE / 2


def test_the_scale_does_not_fall_below_1():
    product = Product()
    before = product.state()
    assert all(product.train(np.nan) for _ in range(20))
    assert product.scale == 1
    assert product.state() == before


def test_the_scale_doubles_after_finite_steps_in_a_row():
    product = Product(growth_steps=3)
    scales = []
    for gradient in (0.5, 0.5, 3.0, 0.5, 0.5, 0.5, 0.5):
        assert product.train(gradient) == (gradient == 3.0)
        scales.append(product.scale / INITIAL_SCALE)
    assert scales == [1, 1, 0.5, 0.5, 0.5, 1, 1]


def test_a_checkpoint_keeps_the_scale_and_its_counter(tmp_path):
    product, resumed = Product(growth_steps=3), Product(growth_steps=3)
    for gradient in (3.0, 0.5, 0.5):
        product.train(gradient)
    prefix = product.checkpoint().save(tmp_path / "ckpt")
    restore(resumed.checkpoint(), prefix, scales_losses=True)
    assert resumed.state() == product.state()
    assert resumed.scale == INITIAL_SCALE / 2
    assert not resumed.train(0.5)  # the third in a row
    assert resumed.scale == INITIAL_SCALE


def test_a_run_resumes_with_another_precision(tmp_path):
    def unscaled() -> tf.train.Checkpoint:
        weights, optimizer = tf.Variable([5.0, 6.0]), SGD(0.5, momentum=0.5)
        create_slots(optimizer, [weights])
        optimizer.get_slot(weights, "momentum").assign([7.0, 8.0])
        return tf.train.Checkpoint(model=weights, optimizer=optimizer)

    product, checkpoint = Product(), unscaled()
    product.train(3.0)
    product.train(1.0)
    prefix = product.checkpoint().save(tmp_path / "float16")
    assert any(name.startswith(VARIABLES) for name in variables(prefix))
    restore(checkpoint, prefix, scales_losses=False)
    momentum = checkpoint.optimizer.get_slot(checkpoint.model, "momentum")
    assert (
        [*checkpoint.model.numpy(), *momentum.numpy()] == product.state() == [0.5, 1.5, -0.5, -0.5]
    )
    prefix = unscaled().save(tmp_path / "float32")
    assert not any(name.startswith(VARIABLES) for name in variables(prefix))
    restore(product.checkpoint(), prefix, scales_losses=True)
    assert product.state() == [5, 6, 7, 8]
    assert product.scale == INITIAL_SCALE / 2
    with pytest.raises(AssertionError):  # anything else that is missing is an error
        restore(tf.train.Checkpoint(step=tf.Variable(1)), prefix, scales_losses=False)


REPLICAS = """
import tfod, tensorflow as tf
from tfod.training.loss_scaling import scale_losses
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    weight = tf.Variable(1.0)
    optimizer = scale_losses(tf.keras.optimizers.legacy.SGD(0.5))

def step(inputs):
    replicas = tf.distribute.get_replica_context()
    with tf.GradientTape() as tape:
        loss = optimizer.get_scaled_loss(weight * inputs[replicas.replica_id_in_sync_group])
    gradients = replicas.all_reduce("SUM", tape.gradient(loss, [weight]))
    gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(
        zip(gradients, [weight]), experimental_aggregate_gradients=False
    )

train = tf.function(lambda inputs: strategy.run(step, args=(inputs,)), autograph=False)
for inputs in ([1.0, float("inf")], [1.0, 2.0]):
    train(tf.constant(inputs))
    weights = [float(value) for value in strategy.experimental_local_results(weight)]
    print(weights, float(optimizer.loss_scale), int(optimizer.dynamic_counter.numpy()))
"""


@pytest.mark.long
def test_an_overflow_in_one_replica_skips_the_step_in_all():
    tools = str(Path(__file__).parents[2] / "tools")
    result = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        env={**os.environ, "PYTHONPATH": tools},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.stdout.splitlines() == [
        "[1.0, 1.0] 16384.0 0",
        "[-0.5, -0.5] 16384.0 1",
    ], result.stderr[-3000:]


@pytest.fixture
def deterministic():
    from tensorflow.python.framework import config

    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()


def set_scale(checkpoint: tf.train.Checkpoint, scale: float, folder: Path) -> None:
    state = tf.train.Checkpoint(
        current_loss_scale=tf.Variable(scale), good_steps=tf.Variable(0, dtype=tf.int64)
    )
    nested = tf.train.Checkpoint(optimizer=tf.train.Checkpoint(loss_scale=state))
    checkpoint.read(nested.write(folder / "scale")).expect_partial()


@pytest.mark.long
@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_detector_trains_alike_with_any_scale_unless_it_overflows(
    data, tiny_template, deterministic, tmp_path, parts
):
    """On a CPU, the rewrite to float16 does nothing: this tests the rest of a step in float32."""
    pipeline = configure(tiny_template, data, Options(batch_size=2))
    pipeline.train_config.optimizer.use_moving_average = True
    pipeline.train_config.gradient_clipping_by_norm = 1.0
    learner = Learner(pipeline, RunSettings(accumulate=parts), precision=FLOAT16)
    batch = next(iter(training_batches(pipeline, learner.model, seed=1)))
    checkpoint = learner.checkpoint()
    start = checkpoint.save(tmp_path / "start")

    def state(name: str) -> dict[str, np.ndarray]:
        values = variables(checkpoint.write(tmp_path / name))
        return {key: value for key, value in values.items() if not key.startswith(VARIABLES)}

    def trained(scale: float) -> dict[str, np.ndarray]:
        restore(checkpoint, start, learner.scales_losses)
        set_scale(checkpoint, scale, tmp_path)
        for _ in range(2):
            learner.train(*batch)
        assert learner.skipped_steps == 0
        return state(f"scale{scale}")

    one = trained(1.0)
    slots = [name for name in one if "OPTIMIZER_SLOT" in name]
    assert any(one[name].any() for name in slots)
    assert_same(trained(INITIAL_SCALE), one)
    set_scale(checkpoint, 2.0**127, tmp_path)
    losses = learner.train(*batch)
    assert np.isfinite(float(losses[TOTAL_LOSS]))
    assert learner.skipped_steps == 1
    assert float(checkpoint.optimizer.loss_scale) == 2.0**126
    after = state("overflow")
    assert learner.steps_done == 3
    changed = {name for name in one if not np.array_equal(one[name], after[name])}
    counters = {f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("step", "optimizer/iter")}
    assert changed >= counters
    assert all(name.startswith("average/") or "/moving_" in name for name in changed - counters)
    set_scale(checkpoint, INITIAL_SCALE, tmp_path)
    learner.train(*batch)
    assert learner.skipped_steps == 0
    following = state("next")
    assert any(not np.array_equal(following[name], after[name]) for name in slots)
