"""Augmentation that depends on the seed and the picture's turn, and on nothing else.

The OD API's augmentations draw from TensorFlow's stateful generators: what a picture gets depends
on how many were drawn before it, and with several threads on chance. Here each draw is made
stateless, seeded with the run's seed, the place of the draw in the code, and the turn of the
picture. So the input is the same with any number of threads, and a resumed run goes on with the
pictures that would have come.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Operations that keep a state of their own; in a traced graph none of them should be left.
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
    """While it lasts, random numbers of `tf.compat.v1`, which the OD API uses, are stateless.

    Args:
      seed: of the run.
      turn: int64 scalar: how many pictures the run has seen before this one.
    """
    import tensorflow as tf

    v1, places = tf.compat.v1, itertools.count()

    def key() -> tf.Tensor:
        return tf.stack([tf.constant(seed * 1_000_003 + next(places), tf.int64), turn])

    def uniform(shape, minval=0, maxval=None, dtype=tf.float32, seed=None, name=None):
        return tf.random.stateless_uniform(shape, key(), minval, maxval, dtype, name)

    def normal(shape, mean=0.0, stddev=1.0, dtype=tf.float32, seed=None, name=None):
        return tf.random.stateless_normal(shape, key(), mean, stddev, dtype, name)

    def shuffle(value, seed=None, name=None):
        return tf.random.experimental.stateless_shuffle(value, key(), name=name)

    def sample_box(image_size, bounding_boxes, seed=None, seed2=None, **options):
        sample = tf.image.stateless_sample_distorted_bounding_box
        return sample(image_size, bounding_boxes, key(), **options)

    replaced = [
        (v1, "random_uniform", uniform),
        (v1.random, "uniform", uniform),
        (v1, "random_normal", normal),
        (v1.random, "normal", normal),
        (v1, "random_shuffle", shuffle),
        (v1.random, "shuffle", shuffle),
        (v1.image, "sample_distorted_bounding_box", sample_box),
    ]
    before = [getattr(module, name) for module, name, _ in replaced]
    for module, name, stateless in replaced:
        setattr(module, name, stateless)
    try:
        yield
    finally:
        for (module, name, _), function in zip(replaced, before, strict=True):
            setattr(module, name, function)


def stateful_operations(graph: tf.Graph) -> list[str]:
    """Types of the random operations in a traced graph that keep a state, sorted."""
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes += function.node_def
    return sorted({node.op for node in nodes} & STATEFUL)
