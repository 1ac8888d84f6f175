"""Balanced epochs: how often a picture comes in one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfod.training.class_balance import balanced_epoch


def test_a_class_in_a_quarter_of_the_pictures_comes_twice_as_often():
    classes = [{"limit"}] * 16 + [{"stop"}] * 4
    times = Counter(balanced_epoch(classes).tolist())
    assert [times[number] for number in range(20)] == [1] * 16 + [2] * 4


def test_the_rarest_class_of_a_picture_counts_and_pictures_of_nothing_come_once():
    classes = [{"limit"}] * 7 + [{"limit", "stop"}, {"limit", "stop"}, set()]
    times = Counter(balanced_epoch(classes).tolist())
    assert [times[number] for number in range(7)] == [1] * 7
    assert times[9] == 1
    assert times[7] + times[8] == 4  # sqrt(9 / 2) = 2.1 each, of which the sum is kept


@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=60))
def test_every_picture_comes_and_the_sum_is_that_of_the_factors(classes):
    epoch = balanced_epoch(classes)
    pictures = Counter(name for shown in classes for name in shown)
    most = max(pictures.values(), default=1)
    factors = [max((most / pictures[n] for n in shown), default=1) ** 0.5 for shown in classes]
    assert set(epoch.tolist()) == set(range(len(classes)))
    assert len(epoch) == pytest.approx(sum(factors), abs=0.5 + 1e-9)
    counts = np.bincount(epoch, minlength=len(classes))
    assert (np.abs(counts - factors) < 1 + 1e-9).all()
