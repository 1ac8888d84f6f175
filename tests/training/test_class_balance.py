"""Tests `training.class_balance`: how often an image occurs in a balanced epoch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfod.training.class_balance import balanced_epoch


def test_images_of_a_class_with_a_quarter_of_the_images_occur_twice():
    classes = [{"limit"}] * 16 + [{"stop"}] * 4
    counts = Counter(balanced_epoch(classes).tolist())
    assert [counts[index] for index in range(20)] == [1] * 16 + [2] * 4


def test_rarest_class_of_an_image_determines_its_factor_and_empty_images_occur_once():
    classes = [{"limit"}] * 7 + [{"limit", "stop"}, {"limit", "stop"}, set()]
    counts = Counter(balanced_epoch(classes).tolist())
    assert [counts[index] for index in range(7)] == [1] * 7
    assert counts[9] == 1
    assert counts[7] + counts[8] == 4  # sqrt(9 / 2) = 2.1 each, and the sum is rounded


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=60))
def test_every_image_occurs_and_the_length_is_the_sum_of_the_factors(classes):
    epoch = balanced_epoch(classes)
    images = Counter(name for names in classes for name in names)
    most = max(images.values(), default=1)
    factors = [max((most / images[n] for n in names), default=1) ** 0.5 for names in classes]
    assert set(epoch.tolist()) == set(range(len(classes)))
    assert len(epoch) == pytest.approx(sum(factors), abs=0.5 + 1e-9)
    counts = np.bincount(epoch, minlength=len(classes))
    assert (np.abs(counts - factors) < 1 + 1e-9).all()
