"""Tests `conversion.split`: splits are deterministic and contain every class in proportion."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from helpers.annotations import annotation
from tfod.conversion.split import split_annotations, split_fractions, stratify
from tfod.errors import UserError


@pytest.mark.parametrize("seed", range(5))
def test_fractions_hold_for_each_class(seed):
    rng = random.Random(seed)
    shares = {"car": 0.6, "bus": 0.2, "tram": 0.05, "van": 0.02}
    labels = [
        frozenset(name for name, share in shares.items() if rng.random() < share)
        for _ in range(1000)
    ]
    fractions = (0.8, 0.1, 0.1)
    subsets = stratify(labels, fractions, seed)
    for name in (*shares, None):
        subsets_of_class = [
            subset
            for names, subset in zip(labels, subsets, strict=True)
            if (name in names if name else not names)
        ]
        for subset, fraction in enumerate(fractions):
            count = subsets_of_class.count(subset)
            assert abs(count - fraction * len(subsets_of_class)) <= max(
                2, 0.03 * len(subsets_of_class)
            )
            assert count >= 1
    assert abs(subsets.count(1) - 100) <= 5


def test_class_with_five_images_is_in_every_split():
    for seed in range(60):
        rng = random.Random(seed)
        names = [f"c{number}" for number in range(rng.randint(1, 12))]
        rate = {name: rng.random() ** 3 for name in names}
        labels = [
            frozenset(name for name in names if rng.random() < rate[name])
            for _ in range(rng.randint(10, 200))
        ]
        fractions = rng.choice([(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (0.9, 0.05, 0.05)])
        subsets = stratify(labels, fractions, seed)
        counts = Counter(name for names in labels for name in names or {"none"})
        reached = {
            (name, subset)
            for names, subset in zip(labels, subsets, strict=True)
            for name in names or {"none"}
        }
        for name, count in counts.items():
            assert count < 5 or all((name, subset) in reached for subset in range(3))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("frequent", [0, 10])
def test_many_classes_of_three_images_are_divided(seed, frequent):
    annotations = [annotation(f"{n}", f"c{n % 20}") for n in range(60)]
    annotations += [annotation(f"f{n}", "frequent") for n in range(frequent)]
    parts = split_annotations(annotations, split_fractions((0.8, 0.1, 0.1)), seed)
    for name, share in (("val", 0.1), ("test", 0.1), ("train", 0.8)):
        assert abs(len(parts[name]) - share * len(annotations)) <= 1
    classes = {
        name: [box.name for annotation in part for box in annotation.objects]
        for name, part in parts.items()
    }
    assert set(classes["train"]) == {box.name for a in annotations for box in a.objects}
    assert len(set(classes["val"])) == len(classes["val"])
    if not frequent:  # each class keeps two images for training
        assert min(Counter(classes["train"]).values()) == 2


@pytest.mark.parametrize("count", [3, 4, 20])
def test_classes_of_one_image_are_divided(count):
    annotations = [annotation(f"{n}", f"c{n}") for n in range(count)]
    parts = split_annotations(annotations, split_fractions((0.8, 0.1, 0.1)), 0)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": count - 2,
        "val": 1,
        "test": 1,
    }


def test_images_of_a_group_stay_together_while_rare_classes_are_divided():
    annotations = [
        dataclasses.replace(annotation(f"{n}", f"c{n // 3}"), group=f"video {n // 2}")
        for n in range(60)
    ]
    parts = split_annotations(annotations, split_fractions((0.8, 0.1, 0.1)), 0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 48, "val": 6, "test": 6}
    for part in parts.values():
        assert set(Counter(annotation.group for annotation in part).values()) == {2}


def test_seed_determines_the_split():
    annotations = [annotation(f"p{number}", "ab"[number % 3 == 0]) for number in range(60)]
    fractions = split_fractions((0.5, 0.3, 0.2))
    first = split_annotations(annotations, fractions, seed=1)
    assert {name: len(part) for name, part in first.items()} == {"train": 30, "val": 18, "test": 12}
    assert split_annotations(annotations, fractions, seed=1) == first
    assert split_annotations(annotations, fractions, seed=2) != first


def test_fraction_of_0_omits_a_split():
    annotations = [annotation(f"p{number}", "a") for number in range(10)]
    parts = split_annotations(annotations, split_fractions((0.9, 0.1, 0)), seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 9, "val": 1}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((0.8, 0.1, 0.2), "--split: 0.8,0.1,0.2 sums to 1.1. Make it sum to 1."),
        ((0.9, 0.1), "--split: is 0.9,0.1. Give three fractions from 0 to 1: train,val,test."),
        ((1.2, -0.1, -0.1), "--split: is 1.2,-0.1,-0.1. Give three fractions"),
        ((float("nan"), 0.5, 0.5), "--split: is nan,0.5,0.5. Give three fractions"),
    ],
)
def test_invalid_fractions_are_reported(split, message):
    with pytest.raises(UserError) as caught:
        split_fractions(split)
    assert str(caught.value).startswith(message)


def test_split_without_images_is_reported():
    with pytest.raises(UserError) as caught:
        split_annotations(
            [annotation("a", "x"), annotation("b", "x")], split_fractions((0.8, 0.1, 0.1)), 0
        )
    assert str(caught.value) == (
        "--split: test gets no image: 2 images are too few for 3 splits. "
        "Add images, or give it the fraction 0."
    )
