"""Tests `evaluation.difficulty`: results by objects per image, brightness, sharpness and size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from helpers.hand_made_detections import CAT, CLASSES, DOG, detected, truth
from tfod.evaluation.difficulty import ImageQuality, difficulty_table, measure_quality
from tfod.evaluation.metrics import evaluate

CORRECT_CAT = ("cat", 0.9, 10, 20, 50, 80)
FALSE_CAT = ("cat", 0.7, 150, 40, 190, 90)


def test_dark_images_have_a_low_brightness_and_blurred_ones_a_low_sharpness():
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    blurred = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)))
    sharp, dark = measure_quality(noise), measure_quality(noise // 4)
    assert dark.brightness == pytest.approx(sharp.brightness / 4, abs=1)
    assert measure_quality(blurred).sharpness < sharp.sharpness / 20
    assert measure_quality(blurred).brightness == pytest.approx(sharp.brightness, abs=2)
    assert measure_quality(np.zeros((5, 5, 3), np.uint8)) == ImageQuality(0, 0)


def test_groups_of_images_are_evaluated_apart():
    truths = [truth(CAT), truth(CAT), truth(CAT, DOG), truth(CAT), truth(CAT), truth()]
    found, nothing = detected(CORRECT_CAT), detected()
    detections = [found, found, found, nothing, detected(FALSE_CAT), nothing]
    metrics, matching = evaluate(truths, detections, CLASSES.values(), 0.5)
    # The first two are bright, the last two are dark, and all are equally sharp.
    qualities = [ImageQuality(brightness, 40) for brightness in (200, 190, 120, 110, 30, 20)]
    table = difficulty_table(metrics, matching, qualities)
    bright, dark = table.loc["brightness: 190 to 200"], table.loc["brightness: 20 to 30"]
    assert bright.tolist() == ["2", 2, "100.0%", "0.0%", pytest.approx(1)]
    assert dark.tolist() == ["2", 1, "0.0%", "100.0%", 0]
    assert table.loc["sharpness: 40", ["images", "objects", "identified"]].tolist() == [
        *("6", 6, "50.0%")
    ]
    crowded = table.loc["objects per image: 2"]
    assert crowded[["images", "objects", "identified"]].tolist() == ["1", 2, "50.0%"]
    assert crowded["AP"] == pytest.approx(0.5)  # the dog has none
    by_count = table[table.index.str.startswith("objects per image")]
    assert by_count["objects"].sum() == metrics.objects
    # A cat has 40 x 60 pixels, a dog 10 x 20.
    assert table.loc["small objects"].drop("AP").tolist() == ["-", 1, "0.0%", "-"]
    assert table.loc["medium objects", "identified"] == "60.0%"
    assert table.loc["medium objects", "AP"] == pytest.approx(metrics.coco["AP_medium"])
    assert table.loc["large objects"].drop("AP").tolist() == ["-", 0, "-", "-"]
    assert np.isnan(table.loc["large objects", "AP"])


def test_the_groups_of_a_whole_split_have_its_results():
    truths = [truth(CAT, DOG)] * 7
    detections = [detected(CORRECT_CAT, FALSE_CAT), *[detected(CORRECT_CAT)] * 6]
    metrics, matching = evaluate(truths, detections, CLASSES.values())
    table = difficulty_table(metrics, matching, [ImageQuality(100, 5)] * 7)
    for group in ("brightness: 100", "sharpness: 5", "objects per image: 2"):
        assert table.loc[group, "objects"] == metrics.objects
        assert table.loc[group, "AP"] == pytest.approx(metrics.coco["AP"])
