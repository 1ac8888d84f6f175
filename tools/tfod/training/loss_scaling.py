"""Loss scaling for float16: small gradients do not become 0, and an overflow skips the step.

Source: Micikevicius et al., "Mixed Precision Training", 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# The largest power of two in float16, in which the backward pass may begin.
INITIAL_SCALE = 2.0**15
GROWTH_STEPS = 2000
MANY_SKIPPED = 10  # the scale may need some halvings at first
VARIABLES = "optimizer/loss_scale/"  # their names in a checkpoint


def scale_losses(
    optimizer: tf.keras.optimizers.Optimizer, growth_steps: int = GROWTH_STEPS
) -> tf.keras.mixed_precision.LossScaleOptimizer:
    """Returns an optimizer with a dynamic loss scale, which applies its gradients with `optimizer`.

    The caller multiplies the loss with `get_scaled_loss`, divides the gradients with
    `get_unscaled_gradients`, in float32, sums them over the replicas and clips them. Then
    `apply_gradients` skips the step if any gradient is not finite: weights and slots such as
    momentum stay, only `iterations` counts it. The scale is a power of two, so that scaling rounds
    nothing. It halves with each skipped step, but not below 1, and doubles after `growth_steps`
    others in a row. It has no upper limit of its own: it is too large as soon as a gradient
    overflows.

    A checkpoint of the result is one of `optimizer` with the variables `loss_scale` (float32 scalar
    `current_loss_scale`, int64 scalar `good_steps`).

    Call this in the scope of the strategy.
    """
    import tensorflow as tf

    return tf.keras.mixed_precision.LossScaleOptimizer(
        optimizer, initial_scale=INITIAL_SCALE, dynamic_growth_steps=growth_steps
    )


def was_skipped(
    optimizer: tf.keras.mixed_precision.LossScaleOptimizer, scale_before: float
) -> bool:
    """Whether the last step was skipped, given the loss scale before it."""
    steps = int(optimizer.dynamic_counter.numpy())  # since the last change of the scale
    return steps == 0 and float(optimizer.loss_scale) <= scale_before


def restore(checkpoint: tf.train.Checkpoint, prefix: Path, scales_losses: bool) -> None:
    """Restores the state of a run, which may have had another precision.

    Args:
      scales_losses: the checkpoint has a loss scale. It keeps its value if the file has none, and
        that of the file is not used if the checkpoint has none.

    Raises:
      AssertionError: the file does not contain the same variables, apart from the loss scale.
    """
    import tensorflow as tf

    status = checkpoint.restore(str(prefix))
    names = [name for name, _ in tf.train.list_variables(str(prefix))]
    if scales_losses == any(name.startswith(VARIABLES) for name in names):
        status.assert_consumed()
    elif scales_losses:
        status.assert_nontrivial_match().expect_partial()
    else:
        status.assert_existing_objects_matched().expect_partial()
