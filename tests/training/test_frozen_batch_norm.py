"""Tests `training.frozen_batch_norm`: frozen layers compute in training what they compute later."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfod.model.pipeline import Options, configure
from tfod.training.events import TOTAL_LOSS
from tfod.training.frozen_batch_norm import fold_frozen_batch_norm
from tfod.training.input import training_batches
from tfod.training.learner import Learner
from tfod.training.settings import RunSettings
from tfod.upstream import internals


@pytest.fixture
def image():
    return tf.random.stateless_normal([2, 9, 9, 4], seed=[1, 2])


def small_network() -> tf.keras.Model:
    """Convolutions of each kind, followed by batch norm with random variables.

    `bn_depthwise` is frozen as by `freeze_batchnorm`, with trained scale and offset, and the other
    batch norm as by `freeze_variables`.
    """
    from object_detection.core.freezable_batch_norm import FreezableBatchNorm

    layers = tf.keras.layers
    inputs = layers.Input([9, 9, 4])
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(inputs)
    x = tf.nn.relu6(FreezableBatchNorm(name="bn_conv")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise")(x)
    x = FreezableBatchNorm(training=False, name="bn_depthwise")(x)
    x = layers.Conv2D(8, 1, bias_initializer="random_normal", name="biased")(x)
    x = FreezableBatchNorm(scale=False, name="bn_biased")(x)
    shared = layers.Conv2D(8, 1, dilation_rate=2, name="shared")(x)
    normalized = FreezableBatchNorm(center=False, name="bn_shared")(shared)
    active = layers.Conv2D(8, 1, activation="relu", name="active")(normalized + shared)
    outputs = FreezableBatchNorm(name="bn_active")(active)
    network = tf.keras.Model(inputs, outputs)
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("bn_"):
            layer.trainable = layer.name == "bn_depthwise"
            layer.set_weights([generator.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return network


def outputs_and_gradients(network, image, training):
    with tf.GradientTape() as tape:
        outputs = network(image, training=training)
        loss = tf.reduce_sum(outputs**2)
    gradients = tape.gradient(loss, network.trainable_variables)
    return outputs.numpy(), [gradient.numpy() for gradient in gradients]


def test_training_step_of_a_network_with_frozen_batch_norm_equals_inference(image):
    network = small_network()
    before = [variable.numpy() for variable in network.variables]
    outputs, gradients = outputs_and_gradients(network, image, training=False)
    not_folded, _ = outputs_and_gradients(network, image, training=True)
    assert np.abs(not_folded - outputs).max() > 0.1  # statistics of the batch

    fold_frozen_batch_norm(network)
    for training in (True, False):
        folded, folded_gradients = outputs_and_gradients(network, image, training)
        np.testing.assert_allclose(folded, outputs, rtol=1e-4, atol=1e-4)
        for actual, expected in zip(folded_gradients, gradients, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_batch_norm_that_is_trained_uses_the_batch(image):
    network = small_network()
    for layer in network.layers:
        layer.trainable = True
    fold_frozen_batch_norm(network)
    inference = network(image, training=False)
    training = network(image, training=True)
    assert np.abs(training - inference).max() > 0.1


def test_frozen_batch_norm_is_no_operation_of_the_graph_if_a_convolution_feeds_it(image):
    network = small_network()
    fold_frozen_batch_norm(network)
    graph = tf.function(network).get_concrete_function(image).graph
    batch_norms = [op.name for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    # Another layer reads the convolution, or it has an activation.
    assert len(batch_norms) == 2
    assert "bn_shared" in batch_norms[0] and "bn_active" in batch_norms[1]


@pytest.mark.long
def test_losses_of_a_training_step_equal_those_of_an_evaluation(data, shallow_template):
    """Frozen batch norm of the OD API would use the statistics of the batch in training."""
    pipeline = configure(shallow_template, data, Options(batch_size=2))
    pipeline.train_config.freeze_variables.append(r".*(BN|bn_|_bn|batchnorm|BatchNorm).*")
    learner = Learner(pipeline, RunSettings())
    batch_norms = list(filter(internals.is_frozen_batch_norm, learner.model.submodules))
    assert len(batch_norms) > 50
    for layer in batch_norms:
        layer.moving_variance.assign(0.5 * layer.moving_variance)
    batch = next(iter(training_batches(pipeline, learner.model, seed=1)))
    evaluated = float(learner.evaluate(*batch)[0][TOTAL_LOSS])
    assert float(learner.train(*batch)[TOTAL_LOSS]) == pytest.approx(evaluated, rel=1e-4)
    for layer in batch_norms:
        assert np.all(layer.moving_mean.numpy() == 0)
