"""Tests `upstream.stateless_random`: augmentation depends on the seed and the turn only."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod.training.input import trace
from tfod.upstream.stateless_random import seeded, stateful_operations

BOXES = tf.constant([[0.1, 0.2, 0.6, 0.7]])


def draw(seed: int, turn: int) -> list[np.ndarray]:
    """Draws from all replaced functions."""
    v1 = tf.compat.v1
    with seeded(seed, tf.constant(turn, tf.int64)):
        drawn = [
            v1.random_uniform([4], 2, 5),
            v1.random.uniform([4], maxval=9, dtype=tf.int32),
            v1.random_normal([4], 1.0, 2.0),
            v1.random_shuffle(tf.range(9)),
            *v1.image.sample_distorted_bounding_box(
                [30, 40, 3], BOXES[None], min_object_covered=0.1, area_range=(0.2, 1.0)
            ),
        ]
    return [value.numpy() for value in drawn]


def test_random_numbers_depend_on_seed_and_turn():
    first = draw(1, 7)
    assert all(map(np.array_equal, first, draw(1, 7)))
    assert (first[0] >= 2).all() and (first[0] < 5).all()
    assert sorted(first[3]) == list(range(9))
    for other in (draw(1, 8), draw(2, 7)):
        assert not any(map(np.array_equal, first[:4], other[:4]))
    # Two operations with the same seed and turn give different numbers.
    with seeded(1, tf.constant(7, tf.int64)):
        one, two = (tf.compat.v1.random_uniform([4]).numpy() for _ in range(2))
    assert not np.array_equal(one, two)


def test_tensorflow_is_restored_after_the_block():
    names = ("random_uniform", "random_normal", "random_shuffle")
    before = [getattr(tf.compat.v1, name) for name in names]
    with pytest.raises(ZeroDivisionError), seeded(0, tf.constant(0, tf.int64)):
        raise ZeroDivisionError
    assert [getattr(tf.compat.v1, name) for name in names] == before


# All augmentations that need only an image and boxes, with their required parameters.
AUGMENTATIONS = """
random_horizontal_flip {} | random_vertical_flip {} | random_rotation90 {} |
random_pixel_value_scale {} | random_image_scale {} | random_rgb_to_gray {probability: 0.5} |
random_adjust_brightness {} | random_adjust_contrast {} | random_adjust_hue {} |
random_adjust_saturation {} | random_distort_color {} | random_jitter_boxes {} |
random_crop_image {} | random_pad_image {} | random_absolute_pad_image {max_height_padding: 9
max_width_padding: 9} | random_crop_pad_image {min_padded_size_ratio: [1, 1]
max_padded_size_ratio: [2, 2]} | random_crop_to_aspect_ratio {} |
random_black_patches {} | random_jpeg_quality {} | random_downscale_to_target_pixels
{min_target_pixels: 200 max_target_pixels: 300} | random_patch_gaussian {} | ssd_random_crop {} |
random_resize_method {target_height: 9 target_width: 9} | random_self_concat_image {} |
ssd_random_crop_pad {} | ssd_random_crop_fixed_aspect_ratio {} |
random_square_crop_by_scale {} | random_scale_crop_and_pad_to_square {output_size: 32}
"""


@pytest.mark.parametrize("text", [" ".join(part.split()) for part in AUGMENTATIONS.split("|")])
def test_all_augmentations_are_stateless(text):
    from object_detection import inputs
    from object_detection.builders import preprocessor_builder
    from object_detection.protos import preprocessor_pb2

    step = text_format.Parse(text, preprocessor_pb2.PreprocessingStep())
    options = [preprocessor_builder.build(step)]

    def augment(turn, image):
        with seeded(3, turn):
            augmented = inputs.augment_input_data(
                {
                    "image": image,
                    "groundtruth_boxes": tf.ensure_shape(BOXES, [None, 4]),
                    "groundtruth_classes": tf.constant([1.0]),
                    "groundtruth_weights": tf.constant([1.0]),
                },
                options,
            )
        return augmented["image"], augmented["groundtruth_boxes"]

    image = tf.random.stateless_uniform([30, 40, 3], [1, 2], maxval=255.0)
    traced = trace(augment, tf.TensorSpec([], tf.int64), tf.TensorSpec([None, None, 3]))
    assert stateful_operations(traced.graph) == []
    first, second = (traced(tf.constant(5, tf.int64), image) for _ in range(2))
    assert all(map(np.array_equal, first, second))
    others = [traced(tf.constant(turn, tf.int64), image) for turn in range(20)]
    assert any(not all(map(np.array_equal, first, other)) for other in others)
