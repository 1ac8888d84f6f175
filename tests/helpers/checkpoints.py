"""Reads and compares the variables of checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def variables(checkpoint: Path) -> dict[str, np.ndarray]:
    """Returns the values of all variables by their key in the checkpoint."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE")
    }


def tf_latest(run: Path) -> str:
    """Returns the path prefix of the latest checkpoint in a run folder."""
    import tensorflow as tf

    return tf.train.latest_checkpoint(str(run))


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Asserts that all variables are equal, except the number of times a checkpoint was saved."""
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        if not name.startswith("save_counter"):
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
