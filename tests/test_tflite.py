"""Pixels reach the `.tflite` exactly as they reach the SavedModel."""

from __future__ import annotations

import numpy as np
import pytest

from tfod.errors import UserError
from tfod.tflite import TFLiteInput, load_tflite, resize_bilinear


@pytest.mark.parametrize("size", [(7, 5), (96, 96), (300, 401), (97, 96), (1, 1)])
def test_resize_equals_the_od_api(size):
    import tensorflow as tf
    from object_detection.core import preprocessor

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected, _ = preprocessor.resize_image(
        tf.constant(pixels, tf.float32), new_height=96, new_width=96
    )
    ours = resize_bilinear(pixels, 96, 96)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-3)


def test_prepare_normalizes_each_channel():
    prepare = TFLiteInput(2, 2, (1.0, 2.0, 1 / 127.5), (0.0, -1.0, -1.0)).prepare
    ready = prepare(np.full((4, 6, 3), [10, 20, 255], np.uint8))
    assert ready.shape == (1, 2, 2, 3) and ready.dtype == np.float32
    np.testing.assert_allclose(ready[0, 0, 0], [10, 39, 1], rtol=1e-6)


def test_input_file_round_trip_and_damage(tmp_path):
    path = tmp_path / "tflite_input.json"
    written = TFLiteInput(96, 128, (1.0, 1.0, 1.0), (-123.68, -116.779, -103.939))
    written.write(path)
    read = TFLiteInput.read(path)
    assert (read.height, read.width) == (96, 128)
    assert tuple(read.offset) == written.offset
    path.write_text('{"height": 3}')
    with pytest.raises(UserError, match="missing or damaged"):
        TFLiteInput.read(path)


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3 but no more")
    with pytest.raises(UserError, match="cannot be loaded as a TFLite model"):
        load_tflite(path)
