"""Tests that batch norm soon has the statistics of the images, not those that it began with."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from helpers.checkpoints import variables
from tfod.training.batch_norm_averages import quick_averages

BATCH = tf.constant(np.random.default_rng(0).normal(5, 0.1, (64, 1, 1, 2)), tf.float32)


class Model(tf.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer


def layers():
    from object_detection.core.freezable_batch_norm import FreezableBatchNorm

    return [FreezableBatchNorm(momentum=0.97), tf.keras.layers.BatchNormalization(momentum=0.997)]


@pytest.mark.parametrize("layer", layers(), ids=["od_api", "keras"])
def test_averages_forget_their_initial_values(layer):
    model, step = Model(layer), tf.Variable(0, dtype=tf.int64)
    decay = layer.momentum

    @tf.function(autograph=False)
    def train():
        with quick_averages(model, step):
            layer(BATCH, training=True)
        step.assign_add(1)

    for _ in range(6):
        train()
    assert layer.momentum == decay  # a number again, as export and restoring need it
    np.testing.assert_allclose(layer.moving_mean, BATCH[:, 0, 0].numpy().mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(layer.moving_variance, [0.01, 0.01], rtol=0.4)

    step.assign(100_000)
    layer.moving_mean.assign([0.0, 0.0])
    train()
    expected = (1 - decay) * BATCH[:, 0, 0].numpy().mean(axis=0)
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-3)


def test_parts_of_a_batch_count_as_one_update():
    layer = tf.keras.layers.BatchNormalization(momentum=0.9)
    model, step = Model(layer), tf.Variable(100_000, dtype=tf.int64)

    @tf.function(autograph=False)
    def train():
        with quick_averages(model, step, parts=4):
            layer(BATCH, training=True)

    for _ in range(4):
        train()
    expected = 0.1 * BATCH[:, 0, 0].numpy().mean(axis=0)
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-3)


@pytest.mark.long
def test_a_short_training_leaves_no_initial_variances_in_the_heads(run):
    """With the decay of the template, 0.97, at least 0.88 would be left after four steps."""
    variances = {
        name: value
        for name, value in variables(run / "ckpt-2").items()
        if "_box_predictor" in name and "moving_variance" in name
    }
    assert variances and all(value.max() < 0.5 for value in variances.values())
