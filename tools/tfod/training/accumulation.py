"""Gradient accumulation: a batch that does not fit into memory is processed in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    Tensors = dict[str, tf.Tensor]


def parts_of_batch(
    parts: int, features: Tensors, labels: Tensors
) -> Iterator[tuple[Tensors, Tensors]]:
    """Divides the tensors of a batch along their first dimension, a multiple of `parts`."""
    import tensorflow as tf

    if parts == 1:  # maybe the batches of several devices
        yield features, labels
        return
    size = len(next(iter(features.values()))) // parts
    for first in range(0, parts * size, size):

        def images(tensor: tf.Tensor, first: int = first) -> tf.Tensor:
            return tensor[first : first + size]

        yield tf.nest.map_structure(images, (features, labels))


class GradientSums:
    """Sums of the gradients of parts of a batch, one variable per trained variable.

    Call this in the scope of the strategy.
    """

    def __init__(self, trained: Sequence[tf.Variable]) -> None:
        import tensorflow as tf

        self._sums = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in trained]

    def add(self, gradients: Sequence[tf.Tensor]) -> None:
        """Adds the gradients of one part."""
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)

    def take(self) -> list[tf.Tensor]:
        """Returns the sums and sets them to 0."""
        import tensorflow as tf

        sums = [tf.identity(total) for total in self._sums]
        for total in self._sums:
            total.assign(tf.zeros_like(total))
        return sums
