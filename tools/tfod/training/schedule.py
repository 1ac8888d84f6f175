"""A learning-rate schedule whose length can change during a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.optimizer_pb2 import CosineDecayLearningRate


def cosine_decay(
    config: CosineDecayLearningRate,
    step: tf.Variable,
    total_steps: tf.Variable,
    warmup_steps: tf.Variable,
) -> tf.Tensor:
    """Returns the learning rate of a step.

    Source: `object_detection.utils.learning_schedules.cosine_decay_with_warmup`, where the numbers
    of steps are constants of the traced graph.

    Args:
      step: the number of completed steps.
      total_steps, warmup_steps: are used instead of the config's.
    """
    import tensorflow as tf

    done, total = tf.cast(step, tf.float32), tf.cast(total_steps, tf.float32)
    base, warmup = config.learning_rate_base, tf.cast(warmup_steps, tf.float32)
    held = warmup + config.hold_base_rate_steps
    rate = 0.5 * base * (1 + tf.cos(math.pi * (done - held) / (total - held)))
    if config.hold_base_rate_steps:
        rate = tf.where(done > held, rate, base)
    slope = tf.math.divide_no_nan(base - config.warmup_learning_rate, warmup)
    rate = tf.where(done < warmup, slope * done + config.warmup_learning_rate, rate)
    return tf.where(done > total, 0.0, rate)
