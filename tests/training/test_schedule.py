"""Tests `training.schedule`: the learning rate of runs whose length is not fixed."""

from __future__ import annotations

import pytest
import tensorflow as tf
from object_detection.protos.optimizer_pb2 import CosineDecayLearningRate
from object_detection.utils import learning_schedules

from tfod.training.schedule import cosine_decay


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.parametrize("hold", [0, 5])
@pytest.mark.parametrize("step", [0, 1, 9, 10, 11, 15, 16, 60, 99, 100, 101])
def test_learning_rate_equals_upstreams(step, warmup, hold):
    config = CosineDecayLearningRate(
        learning_rate_base=0.01,
        total_steps=1000,
        warmup_learning_rate=0.001,
        warmup_steps=50,
        hold_base_rate_steps=hold,
    )
    expected = learning_schedules.cosine_decay_with_warmup(
        tf.constant(step), 0.01, 100, 0.001, warmup, hold
    )
    steps = (tf.Variable(number) for number in (step, 100, warmup))
    actual = cosine_decay(config, *steps)
    assert float(actual) == pytest.approx(float(expected()), abs=1e-9)
