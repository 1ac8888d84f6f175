"""Makes augmentation depend on the seed and the position of an image in the run only.

The OD API's augmentations draw from TensorFlow's stateful generators. Their values depend on the
number of values drawn before, and, with several threads, on timing. Here each random operation is
replaced by a stateless one. Its seed combines the seed of the run, the number of the operation in
the graph, and the position of the image. So the training data does not depend on the number of
threads, and a resumed run continues with the same data order and augmentation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Random operations that keep a state. A traced augmentation should contain none of them.
STATEFUL = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "SampleDistortedBoundingBox",
        "SampleDistortedBoundingBoxV2",
        "TruncatedNormal",
    }
)


@contextmanager
def seeded(seed: int, turn: tf.Tensor) -> Iterator[None]:
    """Makes the random functions of `tf.compat.v1`, which the OD API uses, stateless in the block.

    Args:
      seed: of the run.
      turn: int64 scalar: number of images that the run has read before this one.
    """
    import tensorflow as tf

    v1, operation_numbers = tf.compat.v1, itertools.count()

    def next_seed() -> tf.Tensor:
        operation_seed = tf.constant(seed * 1_000_003 + next(operation_numbers), tf.int64)
        return tf.stack([operation_seed, turn])

    def uniform(shape, minval=0, maxval=None, dtype=tf.float32, seed=None, name=None):
        return tf.random.stateless_uniform(shape, next_seed(), minval, maxval, dtype, name)

    def normal(shape, mean=0.0, stddev=1.0, dtype=tf.float32, seed=None, name=None):
        return tf.random.stateless_normal(shape, next_seed(), mean, stddev, dtype, name)

    def shuffle(value, seed=None, name=None):
        return tf.random.experimental.stateless_shuffle(value, next_seed(), name=name)

    def sample_box(image_size, bounding_boxes, seed=None, seed2=None, **options):
        sample = tf.image.stateless_sample_distorted_bounding_box
        return sample(image_size, bounding_boxes, next_seed(), **options)

    replacements = [
        (v1, "random_uniform", uniform),
        (v1.random, "uniform", uniform),
        (v1, "random_normal", normal),
        (v1.random, "normal", normal),
        (v1, "random_shuffle", shuffle),
        (v1.random, "shuffle", shuffle),
        (v1.image, "sample_distorted_bounding_box", sample_box),
    ]
    originals = [getattr(module, name) for module, name, _ in replacements]
    for module, name, stateless in replacements:
        setattr(module, name, stateless)
    try:
        yield
    finally:
        for (module, name, _), original in zip(replacements, originals, strict=True):
            setattr(module, name, original)


def stateful_operations(graph: tf.Graph) -> list[str]:
    """Returns the types of the stateful random operations in a traced graph, sorted."""
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes += function.node_def
    return sorted({node.op for node in nodes} & STATEFUL)
