"""Which picture goes into train, val and test: deterministic, every class spread alike."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tfod.annotation import Annotation
from tfod.errors import UserError

SPLITS = ("train", "val", "test")


def split_fractions(split: Sequence[float]) -> dict[str, float]:
    """The fractions of train, val and test by name, without those that are 0.

    Raises:
      UserError: they are not three numbers from 0 to 1 that sum to 1.
    """
    given = ",".join(f"{fraction:g}" for fraction in split)
    if len(split) != len(SPLITS) or not all(0 <= fraction <= 1 for fraction in split):
        remedy = "Give three fractions from 0 to 1: train,val,test"
        raise UserError("--split", f"is {given}", remedy)
    if not math.isclose(sum(split), 1, abs_tol=1e-6):
        raise UserError("--split", f"{given} sums to {sum(split):g}", "Make it sum to 1")
    return {name: part for name, part in zip(SPLITS, split, strict=True) if part > 0}


def split_annotations(
    annotations: Sequence[Annotation],
    fractions: Mapping[str, float],
    seed: int,
    group_of: Callable[[Annotation], str] | None = None,
) -> dict[str, list[Annotation]]:
    """Deals annotations to splits so that every class is spread as the whole set is.

    Pictures without objects count as a class of their own. Equal pictures go to one split, so that
    no detector is judged by what it learned from. The order within a split is that of
    `annotations`.

    Args:
      group_of: annotations of one group, such as the frames of a video, go to one split; None for
        no groups.

    Raises:
      UserError: a split gets no picture.
    """
    groups = _together(annotations, group_of)
    labels = [
        frozenset(box.name for index in members for box in annotations[index].objects)
        for members in groups
    ]
    weights = [len(members) for members in groups]
    dealt = stratify(labels, list(fractions.values()), seed, weights)
    part_of = {
        index: part for members, part in zip(groups, dealt, strict=True) for index in members
    }
    parts: dict[str, list[Annotation]] = {name: [] for name in fractions}
    for index, annotation in enumerate(annotations):
        parts[list(fractions)[part_of[index]]].append(annotation)
    for name, part in parts.items():
        if not part:
            raise UserError(
                "--split",
                f"{name} gets no picture: {fractions[name]:g} of {len(annotations)} is too few",
                "Add pictures, or give it a larger fraction or 0",
            )
    return parts


def _together(
    annotations: Sequence[Annotation], group_of: Callable[[Annotation], str] | None
) -> list[list[int]]:
    """Indices of the annotations that may not be parted: of equal pictures, or of one group.

    One may lead to the other: two videos that share a frame stay together.
    """
    leader = list(range(len(annotations)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    first: dict[object, int] = {}
    for index, annotation in enumerate(annotations):
        keys = [annotation.digest or annotation.source]
        if group_of:
            keys.append(group_of(annotation))
        for key in keys:
            low, high = sorted((find(index), find(first.setdefault(key, index))))
            leader[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(len(annotations)):
        groups.setdefault(find(index), []).append(index)
    return list(groups.values())


def stratify(
    labels: Sequence[frozenset[str]],
    fractions: Sequence[float],
    seed: int,
    weights: Sequence[int] | None = None,
) -> list[int]:
    """Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011, algorithm 1).

    The rarest label is dealt first, while there is most choice: each of its pictures goes where
    this label is wanted most, then where most pictures are wanted. Unlike there, a label of more
    than twice as many examples as there are other subsets (5 of 3) reaches all of them.

    Args:
      labels: the set of labels of each example; an empty one counts as a label of its own.
      fractions: of each subset, above 0, summing to 1.
      weights: how many pictures each example stands for; None for one each.

    Returns:
      The index of each example's subset.
    """
    chance = random.Random(seed)
    order = list(range(len(labels)))
    chance.shuffle(order)
    label_sets = [sorted(names) or [""] for names in labels]
    remaining: dict[str, dict[int, None]] = {}  # dicts for sets that keep their order
    for example in order:
        for label in label_sets[example]:
            remaining.setdefault(label, {})[example] = None
    members = {label: list(examples) for label, examples in remaining.items()}
    weights = weights or [1] * len(labels)
    wanted = {
        label: _wanted(sum(weights[example] for example in examples), fractions)
        for label, examples in members.items()
    }
    room = [fraction * sum(weights) for fraction in fractions]
    subset_of = [0] * len(labels)
    while remaining:
        rarest = min(remaining, key=lambda label: (len(remaining[label]), label))
        for example in list(remaining[rarest]):
            subset = max(
                range(len(fractions)),
                key=lambda part: (wanted[rarest][part], room[part], chance.random()),
            )
            subset_of[example] = subset
            room[subset] -= weights[example]
            for label in label_sets[example]:
                wanted[label][subset] -= weights[example]
                del remaining[label][example]
                if not remaining[label]:
                    del remaining[label]
    _fill_gaps(subset_of, label_sets, members, fractions)
    return subset_of


def _fill_gaps(
    subset_of: list[int],
    label_sets: Sequence[Sequence[str]],
    members: Mapping[str, Sequence[int]],
    fractions: Sequence[float],
) -> None:
    """Moves single examples where a label that is frequent enough is absent from a subset.

    That happens, once in some hundred labels, where its examples were dealt for rarer labels. They
    are taken from the largest subset, and only those whose labels it keeps.
    """
    largest = fractions.index(max(fractions))
    held = Counter(
        (label, subset_of[example]) for label, examples in members.items() for example in examples
    )
    for label, examples in members.items():
        for subset in range(len(fractions)):
            if held[label, subset] or not _is_frequent(len(examples), fractions):
                continue
            for example in examples:
                labels = label_sets[example]
                if subset_of[example] == largest and all(held[of, largest] > 1 for of in labels):
                    subset_of[example] = subset
                    held.update((of, subset) for of in labels)
                    held.subtract((of, largest) for of in labels)
                    break


def _is_frequent(examples: int, fractions: Sequence[float]) -> bool:
    """Whether each subset can have one of a label's examples and the largest still most."""
    return examples > 2 * (len(fractions) - 1)


def _wanted(examples: int, fractions: Sequence[float]) -> list[float]:
    """How many of a label's examples each subset should get.

    By the paper a label of 5 examples leaves a subset of 0.1 empty. A class that is measured is
    worth more than a fraction kept exactly, so a frequent label is wanted everywhere.
    """
    wanted = [fraction * examples for fraction in fractions]
    largest = wanted.index(max(wanted))
    if _is_frequent(examples, fractions):
        wanted = [max(share, 1.0) for share in wanted]
        wanted[largest] += examples - sum(wanted)
    return wanted
