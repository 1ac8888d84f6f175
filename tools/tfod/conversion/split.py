"""Assigns images to train, val and test: deterministic, with every class in proportion."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tfod.annotation import Annotation
from tfod.errors import UserError

SPLITS = ("train", "val", "test")


def split_fractions(split: Sequence[float]) -> dict[str, float]:
    """Returns the fractions of train, val and test by name, without those that are 0.

    Raises:
      UserError: the fractions are not three numbers from 0 to 1 that sum to 1.
    """
    text = ",".join(f"{fraction:g}" for fraction in split)
    if len(split) != len(SPLITS) or not all(0 <= fraction <= 1 for fraction in split):
        remedy = "Give three fractions from 0 to 1: train,val,test"
        raise UserError("--split", f"is {text}", remedy)
    if not math.isclose(sum(split), 1, abs_tol=1e-6):
        raise UserError("--split", f"{text} sums to {sum(split):g}", "Make it sum to 1")
    return {name: part for name, part in zip(SPLITS, split, strict=True) if part > 0}


def split_annotations(
    annotations: Sequence[Annotation],
    fractions: Mapping[str, float],
    seed: int,
    group_of: Callable[[Annotation], str] | None = None,
) -> dict[str, list[Annotation]]:
    """Assigns annotations to splits so that the fractions hold for every class.

    Images without objects count as a class of their own. Equal images go to the same split, so that
    no detector is evaluated on its training images; and so do images of the same
    `Annotation.group`. The order within a split is that of `annotations`.

    Args:
      group_of: returns another group of an annotation, which goes to one split too. None for no
        other groups.

    Raises:
      UserError: a split gets no image.
    """
    groups = _groups(annotations, group_of)
    labels = [
        frozenset(box.name for index in members for box in annotations[index].objects)
        for members in groups
    ]
    weights = [len(members) for members in groups]
    subsets = stratify(labels, list(fractions.values()), seed, weights)
    subset_of = {
        index: subset for members, subset in zip(groups, subsets, strict=True) for index in members
    }
    parts: dict[str, list[Annotation]] = {name: [] for name in fractions}
    for index, annotation in enumerate(annotations):
        parts[list(fractions)[subset_of[index]]].append(annotation)
    for name, part in parts.items():
        if not part:
            count, remedy = f"{len(annotations)} images", "Add images, or give it the fraction 0"
            if len(groups) < len(annotations):
                groups_text = "1 group" if len(groups) == 1 else f"{len(groups)} groups"
                count = f"{len(annotations)} images in {groups_text}"
                remedy = "Add images of other groups, or give it the fraction 0"
                if group_of:
                    remedy = "Change --group-by, add images, or give it the fraction 0"
            what = f"{name} gets no image: {count} are too few for {len(fractions)} splits"
            raise UserError("--split", what, remedy)
    return parts


def _groups(
    annotations: Sequence[Annotation], group_of: Callable[[Annotation], str] | None
) -> list[list[int]]:
    """Returns the indices of annotations that must stay together: equal images, or one group.

    Overlapping groups are merged: two videos that share a frame stay together.
    """
    leader = list(range(len(annotations)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    first: dict[object, int] = {}
    for index, annotation in enumerate(annotations):
        keys: list[object] = [annotation.digest or annotation.source]
        if annotation.group:
            keys.append(("group of the format", annotation.group))
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

    The rarest label is assigned first, while there is most choice: each of its examples goes to the
    subset that lacks most examples of this label, and in a tie, to the one that lacks most images.
    Unlike the paper, a label with enough examples (5 for 3 subsets) reaches all subsets, and no
    subset is much too small because all labels are rare.

    Args:
      labels: the set of labels of each example; an empty set counts as a label of its own.
      fractions: fraction of each subset, above 0, summing to 1.
      weights: number of images that each example represents; None for one each.

    Returns:
      The index of each example's subset.
    """
    rng = random.Random(seed)
    order = list(range(len(labels)))
    rng.shuffle(order)
    label_sets = [sorted(names) or [""] for names in labels]
    remaining: dict[str, dict[int, None]] = {}  # dicts as ordered sets
    for example in order:
        for label in label_sets[example]:
            remaining.setdefault(label, {})[example] = None
    members = {label: list(examples) for label, examples in remaining.items()}
    weights = weights or [1] * len(labels)
    desired = {
        label: _desired_counts(sum(weights[example] for example in examples), fractions)
        for label, examples in members.items()
    }
    room = [fraction * sum(weights) for fraction in fractions]
    subset_of = [0] * len(labels)
    while remaining:
        rarest = min(remaining, key=lambda label: (len(remaining[label]), label))
        for example in list(remaining[rarest]):
            subset = max(
                range(len(fractions)),
                key=lambda part: (desired[rarest][part], room[part], rng.random()),
            )
            subset_of[example] = subset
            room[subset] -= weights[example]
            for label in label_sets[example]:
                desired[label][subset] -= weights[example]
                del remaining[label][example]
                if not remaining[label]:
                    del remaining[label]
    _fill_gaps(subset_of, label_sets, members, fractions)
    _fill_small_subsets(subset_of, label_sets, order, weights, fractions)
    return subset_of


def _fill_gaps(
    subset_of: list[int],
    label_sets: Sequence[Sequence[str]],
    members: Mapping[str, Sequence[int]],
    fractions: Sequence[float],
) -> None:
    """Moves single examples to subsets that lack a frequent label.

    About one label in several hundred needs this, because its examples were assigned by rarer
    labels. Examples are moved from the largest subset, and only if it keeps other examples of all
    their labels.
    """
    largest = fractions.index(max(fractions))
    counts = Counter(
        (label, subset_of[example]) for label, examples in members.items() for example in examples
    )
    for label, examples in members.items():
        for subset in range(len(fractions)):
            if counts[label, subset] or not _is_frequent(len(examples), fractions):
                continue
            for example in examples:
                labels = label_sets[example]
                if subset_of[example] == largest and all(
                    counts[other, largest] > 1 for other in labels
                ):
                    subset_of[example] = subset
                    counts.update((other, subset) for other in labels)
                    counts.subtract((other, largest) for other in labels)
                    break


def _fill_small_subsets(
    subset_of: list[int],
    label_sets: Sequence[Sequence[str]],
    order: Sequence[int],
    weights: Sequence[int],
    fractions: Sequence[float],
) -> None:
    """Moves examples to subsets that have less than half of their share.

    All examples of a label with few examples are in the largest subset. If all labels are like
    this, the others are empty. Examples are moved from the largest subset while it keeps other
    examples of all their labels; a subset that is still empty gets one example in any case.
    """
    largest = fractions.index(max(fractions))
    counts = Counter(
        (label, subset_of[example]) for example in order for label in label_sets[example]
    )
    sizes = [0] * len(fractions)
    for example in order:
        sizes[subset_of[example]] += weights[example]
    for subset, fraction in enumerate(fractions):
        share = fraction * sum(weights)
        if sizes[subset] >= share / 2:
            continue
        # Labels with most examples first, and at first one example of each label.
        candidates = sorted(
            (example for example in order if subset_of[example] == largest),
            key=lambda example: -min(counts[label, largest] for label in label_sets[example]),
        )
        for only_new_labels in (True, False):
            for example in candidates:
                labels = label_sets[example]
                if (
                    subset_of[example] == largest
                    and weights[example] <= share - sizes[subset]
                    and all(counts[label, largest] > 1 for label in labels)
                    and not (only_new_labels and any(counts[label, subset] for label in labels))
                ):
                    subset_of[example] = subset
                    sizes[subset] += weights[example]
                    counts.update((label, subset) for label in labels)
                    counts.subtract((label, largest) for label in labels)
        if not sizes[subset]:
            _move_one(subset_of, subset, weights)


def _move_one(subset_of: list[int], subset: int, weights: Sequence[int]) -> None:
    """Moves the lightest example of the subset with most examples, if it keeps another."""
    donor, count = Counter(subset_of).most_common(1)[0]
    if count > 1:
        members = (example for example, part in enumerate(subset_of) if part == donor)
        subset_of[min(members, key=lambda example: weights[example])] = subset


def _is_frequent(examples: int, fractions: Sequence[float]) -> bool:
    """Returns whether every subset can get an example of a label and the largest gets most."""
    return examples > 2 * (len(fractions) - 1)


def _desired_counts(examples: int, fractions: Sequence[float]) -> list[float]:
    """Returns how many examples of a label each subset should get.

    In the paper's algorithm, a label with 5 examples leaves a subset of 0.1 without one. Being able
    to evaluate every class is more important than exact fractions, so every subset should get an
    example of a frequent label.
    """
    desired = [fraction * examples for fraction in fractions]
    largest = desired.index(max(desired))
    if _is_frequent(examples, fractions):
        desired = [max(share, 1.0) for share in desired]
        desired[largest] += examples - sum(desired)
    return desired
