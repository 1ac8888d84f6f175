"""Values in checkpoints, to compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def variables(checkpoint: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE")
    }


def tf_latest(run: Path) -> str:
    import tensorflow as tf

    return tf.train.latest_checkpoint(str(run))


def assert_same(values: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    assert values.keys() == others.keys()
    for name, value in values.items():
        if not name.startswith("save_counter"):
            np.testing.assert_array_equal(value, others[name], err_msg=name)
