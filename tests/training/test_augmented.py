"""Tests `training.augmented`: training images as the detector gets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tfod.errors import UserError
from tfod.model.pipeline import Options, configure
from tfod.training.augmented import IMAGES, VARIANTS, TrainingImage, augmented_images


@pytest.fixture
def pipeline(tiny_template, data):
    """Without augmentation."""
    config = configure(tiny_template, data, Options(input_size=320))
    del config.train_config.data_augmentation_options[:]
    return config


def test_each_image_is_shown_without_and_with_augmentation(data, pipeline):
    pipeline.train_config.data_augmentation_options.add().random_horizontal_flip.SetInParent()
    images = augmented_images(data, pipeline)
    assert len(images) == min(IMAGES, data.splits["train"].images)
    flipped = []
    for original, *variants in images.values():
        assert original.pixels.dtype == np.uint8 and original.pixels.shape == (320, 320, 3)
        assert original.objects.names and len(variants) == VARIANTS
        for variant in variants:
            same = difference(original.pixels, variant.pixels) < 3
            # The image is resized after the flip, so that values differ by rounding.
            assert same or difference(original.pixels[:, ::-1], variant.pixels) < 3
            assert same == np.allclose(original.objects.boxes, variant.objects.boxes)
            flipped.append(not same)
        assert not np.array_equal(original.draw(), original.pixels)
    assert 0.2 < np.mean(flipped) < 0.8


def test_boxes_stay_on_their_objects_in_crops(data, pipeline):
    crop = pipeline.train_config.data_augmentation_options.add().random_crop_image
    crop.min_object_covered, crop.min_area, crop.max_area = 1.0, 0.3, 0.6
    crop.overlap_thresh = 0.99  # other objects are whole or gone
    differences = []
    for original, *variants in augmented_images(data, pipeline).values():
        for variant in variants:
            for name, view in objects(variant):
                same_class = [
                    other for other_name, other in objects(original) if other_name == name
                ]
                differences.append(min(difference(view, other) for other in same_class))
    assert len(differences) >= IMAGES * VARIANTS
    assert np.median(differences) < 20  # of 255


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return np.abs(first.astype(float) - second).mean()


def objects(image: TrainingImage) -> list[tuple[str, np.ndarray]]:
    """Returns class names, and the pixels in the boxes in a common size."""
    height, width = image.pixels.shape[:2]
    boxes = image.objects.to_pixels_xyxy(width, height)
    pixels = Image.fromarray(image.pixels)
    views = [pixels.crop(tuple(box)).resize((16, 16)) for box in boxes]
    return [(name, np.asarray(view)) for name, view in zip(image.objects.names, views, strict=True)]


def test_a_data_set_without_train_split_is_reported(data, pipeline):
    with pytest.raises(UserError, match="train"):
        augmented_images(replace(data, splits={"val": data.splits["val"]}), pipeline)
