"""Tests `evaluation.error_analysis` on boxes that are easy to check by hand."""

from __future__ import annotations

import pytest

from helpers.hand_made_detections import CAT, CLASSES, DOG, detected, truth
from tfod.annotation import Box
from tfod.evaluation.error_analysis import KINDS, costs, mistakes
from tfod.evaluation.metrics import evaluate

RIGHT = ("cat", 0.9, 10, 20, 50, 80)
MISTAKES = {
    "localization": ("cat", 0.8, 30, 20, 70, 80),  # IoU 1/3 with the cat
    "class": ("dog", 0.8, 10, 20, 50, 80),
    "both": ("dog", 0.8, 30, 20, 70, 80),
    "background": ("cat", 0.8, 150, 0, 190, 30),
    "missed": None,
}


@pytest.mark.parametrize("kind", list(MISTAKES))
def test_each_kind_of_mistake(kind):
    row = MISTAKES[kind]
    truths, detections = [truth(CAT)], [detected(row) if row else detected()]
    _, matching = evaluate(truths, detections, CLASSES.values())
    table = mistakes(matching)
    is_only_mistake = kind in ("localization", "class", "missed")
    assert table["kind"].tolist() == ([kind] if is_only_mistake else [kind, "missed"])
    cost = costs(matching)
    assert list(cost) == list(KINDS)
    # Only localization and class are fixed by one correction. The cost of "missed" is 0, because
    # without its only object the class has no AP.
    assert cost[kind] == pytest.approx(1 if kind in ("localization", "class") else 0, abs=1e-6)


def test_a_duplicate_costs_ap_if_it_ranks_above_a_correct_detection():
    second = Box("cat", 100, 20, 140, 80)
    detections = detected(RIGHT, ("cat", 0.8, 12, 20, 50, 80), ("cat", 0.7, 100, 20, 140, 80))
    _, matching = evaluate([truth(CAT, second)], [detections], CLASSES.values())
    table = mistakes(matching)
    assert table[["kind", "name", "detection", "object"]].to_numpy().tolist() == [
        ["duplicate", "cat", 1, 0]
    ]
    cost = costs(matching)
    # Precision at the second object is 2/3: for recall >= 0.51, which is 50 of 101 points.
    assert cost.pop("duplicate") == pytest.approx(50 / 101 / 3)
    assert set(cost.values()) == {0}


def test_the_threshold_removes_false_detections_and_keeps_missed_objects():
    weak = ("dog", 0.1, 10, 20, 50, 80)
    _, matching = evaluate([truth(CAT, DOG)], [detected(weak)], CLASSES.values())
    assert mistakes(matching)["kind"].tolist() == ["class", "missed"]
    above = mistakes(matching, threshold=0.5)
    assert above[["kind", "name", "object"]].to_numpy().tolist() == [
        ["missed", "cat", 0],
        ["missed", "dog", 1],
    ]


def test_cost_of_missed_objects_and_of_two_detections_of_one_object():
    _, matching = evaluate(
        [truth(CAT), truth(CAT)], [detected(RIGHT), detected()], CLASSES.values()
    )
    assert costs(matching)["missed"] == pytest.approx(1 - 51 / 101)
    two_boxes = detected(("cat", 0.8, 30, 20, 70, 80), ("cat", 0.6, 31, 20, 71, 80))
    _, matching = evaluate([truth(CAT)], [two_boxes], CLASSES.values())
    assert mistakes(matching)["kind"].tolist() == ["localization"] * 2
    assert costs(matching)["localization"] == pytest.approx(1)


def test_detections_in_a_crowd_are_not_mistakes():
    crowd = Box("cat", 100, 0, 200, 100, crowd=True)
    inside = ("cat", 0.8, 110, 10, 130, 60)
    _, matching = evaluate([truth(CAT, crowd)], [detected(RIGHT, inside)], CLASSES.values())
    assert mistakes(matching).empty
    assert set(costs(matching).values()) == {0}
