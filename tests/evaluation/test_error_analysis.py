"""Kinds of mistakes and what they cost, on boxes a person can check."""

from __future__ import annotations

import pytest

from helpers.hand_made_detections import CAT, CLASSES, DOG, found, truth
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
def test_each_kind_by_itself(kind):
    row = MISTAKES[kind]
    truths, detections = [truth(CAT)], [found(row) if row else found()]
    _, matching = evaluate(truths, detections, CLASSES.values())
    table = mistakes(matching)
    alone = kind in ("localization", "class", "missed")
    assert table["kind"].tolist() == ([kind] if alone else [kind, "missed"])
    cost = costs(matching)
    assert list(cost) == list(KINDS)
    # Only where one correction makes all right is AP50 what it gains. Without the only object
    # there is no AP at all.
    assert cost[kind] == pytest.approx(1 if kind in ("localization", "class") else 0, abs=1e-6)


def test_a_second_box_is_a_duplicate_and_costs_where_it_comes_before_another_object():
    second = Box("cat", 100, 20, 140, 80)
    detections = found(RIGHT, ("cat", 0.8, 12, 20, 50, 80), ("cat", 0.7, 100, 20, 140, 80))
    _, matching = evaluate([truth(CAT, second)], [detections], CLASSES.values())
    table = mistakes(matching)
    assert table[["kind", "name", "detection", "object"]].to_numpy().tolist() == [
        ["duplicate", "cat", 1, 0]
    ]
    cost = costs(matching)
    # Precision at the second object is 2/3; from recall 0.51 on, 50 of 101 points.
    assert cost.pop("duplicate") == pytest.approx(50 / 101 / 3)
    assert set(cost.values()) == {0}


def test_a_threshold_takes_out_weak_mistakes_and_leaves_objects_missed():
    weak = ("dog", 0.1, 10, 20, 50, 80)
    _, matching = evaluate([truth(CAT, DOG)], [found(weak)], CLASSES.values())
    assert mistakes(matching)["kind"].tolist() == ["class", "missed"]
    above = mistakes(matching, threshold=0.5)
    assert above[["kind", "name", "object"]].to_numpy().tolist() == [
        ["missed", "cat", 0],
        ["missed", "dog", 1],
    ]


def test_missed_objects_cost_what_recall_lacks_and_two_claims_mend_one_object():
    _, matching = evaluate([truth(CAT), truth(CAT)], [found(RIGHT), found()], CLASSES.values())
    assert costs(matching)["missed"] == pytest.approx(1 - 51 / 101)
    claims = found(("cat", 0.8, 30, 20, 70, 80), ("cat", 0.6, 31, 20, 71, 80))
    _, matching = evaluate([truth(CAT)], [claims], CLASSES.values())
    assert mistakes(matching)["kind"].tolist() == ["localization"] * 2
    assert costs(matching)["localization"] == pytest.approx(1)


def test_what_lies_in_a_crowd_is_no_mistake():
    crowd = Box("cat", 100, 0, 200, 100, crowd=True)
    inside = ("cat", 0.8, 110, 10, 130, 60)
    _, matching = evaluate([truth(CAT, crowd)], [found(RIGHT, inside)], CLASSES.values())
    assert mistakes(matching).empty
    assert set(costs(matching).values()) == {0}
