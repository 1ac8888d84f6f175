"""Makes the moving averages of batch norm forget quickly what they began with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel


@contextmanager
def quick_averages(model: DetectionModel, step: tf.Variable, parts: int = 1) -> Iterator[None]:
    """Batch norm that is traced in the block has a lower decay in the first steps.

    Training uses the statistics of each batch, but inference their moving averages, which begin
    with a mean of 0 and a variance of 1. With a decay of 0.97, 3 % of that 1 is left after 112
    steps. Variances in the heads of a detector are about 0.003, so a detector that has learned a
    lot would detect nothing. The decay is therefore (1 + step) / (10 + step), until that is higher
    than the decay of the layer.

    Source: `tf.train.ExponentialMovingAverage` with `num_updates`.

    Args:
      step: the number of completed optimizer steps.
      parts: number of times that a step updates the averages. Their decays multiply to that of one.
    """
    import tensorflow as tf

    # Keras has two classes of batch norm, and the OD API two more, without a common public one.
    layers = [module for module in model.submodules if hasattr(module, "moving_variance")]
    decays = [layer.momentum for layer in layers]
    done = tf.cast(step, tf.float32)
    quick = {decay: tf.minimum(decay, (1.0 + done) / (10.0 + done)) for decay in set(decays)}
    if parts > 1:
        quick = {decay: lower ** (1 / parts) for decay, lower in quick.items()}
    for layer, decay in zip(layers, decays, strict=True):
        layer.momentum = quick[decay]
    try:
        yield
    finally:
        for layer, decay in zip(layers, decays, strict=True):
            layer.momentum = decay
