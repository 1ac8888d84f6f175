"""Matches detections with objects as pycocotools does, at all IoU thresholds and sizes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Boxes(NamedTuple):
    """Objects or detections.

    Attributes:
      classes: int64 `[N]`, positions in the list of classes.
      images: int64 `[N]`, from 0.
      xywh: float64 `[N, 4]`, x, y, width, height in pixels.
    """

    classes: np.ndarray
    images: np.ndarray
    xywh: np.ndarray

    def rows(self, indices: np.ndarray) -> Boxes:
        return Boxes(*(values[indices] for values in self))

    def keys(self, images: int) -> np.ndarray:
        """Returns a number for each class and image, in the order of classes, then images."""
        return self.classes * images + self.images

    def outside(self, ranges: np.ndarray) -> np.ndarray:
        """Returns whether the areas are outside of the ranges `[R, 2]`: bool `[R, N]`."""
        areas = self.xywh[:, 2] * self.xywh[:, 3]
        return (areas < ranges[:, :1]) | (areas > ranges[:, 1:])


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of D detections, of which K are among the best of their class in their image.

    The K detections are sorted by class, then by image, then from the highest score.

    Attributes:
      classes: int64 `[K]`, positions in the list of classes.
      scores: float64 `[K]`.
      ranks: uint8 `[K]`, position by score among those of the class in the image.
      matched: uint16 `[sizes, K]`: bit t says that the detection matches an object at the IoU
        threshold t, if objects of other sizes do not count.
      ignored: uint16 `[sizes, K]`, likewise: the detection is neither correct nor false.
      objects: int64 `[sizes, classes]`: number of objects that count.
      matched_object: int64 `[D]`, in the order of the detections: the matching object at one of the
        thresholds, of any size; -1 for none, and for ignored detections.
      is_ignored: bool `[D]`, likewise; also true for those that are not among the best.
    """

    classes: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray
    matched_object: np.ndarray
    is_ignored: np.ndarray


def match(
    objects: Boxes,
    crowd: np.ndarray,
    detections: Boxes,
    scores: np.ndarray,
    classes: int,
    params: Any,
    threshold: int,
) -> Matches:
    """Matches the detections of each image and class with its objects.

    Source: `pycocotools.cocoeval.COCOeval.evaluateImg`, with the same results.

    Args:
      crowd: bool, for each object: it is a crowd, which any number of detections may match.
      scores: float64, for each detection.
      classes: their number.
      params: pycocotools `Params`: up to 16 ascending IoU thresholds, ranges of areas of which the
        first has all sizes, and the largest number of detections of a class in an image.
      threshold: position of the IoU threshold of `Matches.matched_object`.
    """
    from pycocotools import mask

    images = max(objects.images.max(initial=0), detections.images.max(initial=0)) + 1
    truth_order = np.argsort(objects.keys(images), kind="stable")
    truth, crowd = objects.rows(truth_order), crowd[truth_order]
    order = np.lexsort((-scores, detections.keys(images)))
    ranks = _ranks(detections.keys(images)[order])
    order, ranks = order[ranks < params.maxDets[-1]], ranks[ranks < params.maxDets[-1]]
    found = detections.rows(order)

    ranges = np.array(params.areaRng, float)
    uncounted = crowd | truth.outside(ranges)
    matched = np.zeros((len(ranges), len(order)), np.uint16)
    # A detection of another size is not false, unless it matches an object that counts.
    all_bits = (1 << len(params.iouThrs)) - 1
    ignored = np.where(found.outside(ranges), all_bits, 0).astype(np.uint16)
    matched_object = np.full(len(order), -1)
    for rows, of_image in common_keys(found.keys(images), truth.keys(images)):
        overlaps = mask.iou(found.xywh[rows], truth.xywh[of_image], crowd[of_image])
        uncounted_here = uncounted[:, of_image]
        for row, best in _match_image(overlaps, crowd[of_image], uncounted_here, params.iouThrs):
            row += rows.start
            is_matched = best >= 0
            of_uncounted = is_matched & np.take_along_axis(uncounted_here, best, axis=1)
            bits = _to_bits(is_matched)
            matched[:, row] = bits
            ignored[:, row] = ignored[:, row] & ~bits | _to_bits(of_uncounted)
            if is_matched[0, threshold] and not of_uncounted[0, threshold]:
                matched_object[row] = truth_order[of_image][best[0, threshold]]

    of_all = np.full(len(scores), -1)
    of_all[order] = matched_object
    is_ignored = np.ones(len(scores), bool)
    is_ignored[order] = ignored[0] >> threshold & 1
    return Matches(
        found.classes,
        scores[order],
        ranks.astype(np.uint8),
        matched,
        ignored,
        np.array([np.bincount(truth.classes[~row], minlength=classes) for row in uncounted]),
        of_all,
        is_ignored,
    )


def _ranks(keys: np.ndarray) -> np.ndarray:
    """Returns the positions among equal keys, which are sorted."""
    _, starts, counts = np.unique(keys, return_index=True, return_counts=True)
    return np.arange(len(keys)) - np.repeat(starts, counts)


def common_keys(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Yields the places of each key that is in both sorted arrays."""
    keys, starts, counts = np.unique(first, return_index=True, return_counts=True)
    low, high = (np.searchsorted(second, keys, side=side) for side in ("left", "right"))
    places = np.stack([starts, starts + counts, low, high], axis=1)[low < high]
    for start, end, other_start, other_end in places.tolist():
        yield slice(start, end), slice(other_start, other_end)


def _match_image(
    overlaps: np.ndarray, crowd: np.ndarray, uncounted: np.ndarray, thresholds: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Matches detections, the best first, with the objects of their class in one image.

    A detection gets the object with the highest IoU that has no other match, of those that count
    if one of them reaches the threshold; of equal ones the last, as in pycocotools.

    Args:
      overlaps: float64 `[D, G]` IoUs.
      crowd: bool `[G]`.
      uncounted: bool `[sizes, G]`: objects that do not count.
      thresholds: float64 `[T]`.

    Yields:
      A row of `overlaps` and its objects, int64 `[sizes, T]`, -1 for none. Rows that reach no
      threshold are left out.
    """
    limits = np.minimum(thresholds, 1 - 1e-10)[:, None]
    free = np.ones((len(uncounted), len(limits), len(crowd)), bool)
    last = len(crowd) - 1
    for row in np.flatnonzero(overlaps.max(axis=1) >= limits[0]).tolist():
        fitting = free & (overlaps[row] >= limits)
        counting = fitting & ~uncounted[:, None]
        chosen = np.where(counting.any(axis=2, keepdims=True), counting, fitting)
        best = last - np.where(chosen, overlaps[row], -1.0)[..., ::-1].argmax(axis=2)
        best[~chosen.any(axis=2)] = -1
        size, limit = np.nonzero((best >= 0) & ~crowd[best])
        free[size, limit, best[size, limit]] = False
        yield row, best


def _to_bits(flags: np.ndarray) -> np.ndarray:
    """Packs bool `[sizes, T]` into uint16 `[sizes]`."""
    return (flags << np.arange(flags.shape[1], dtype=np.uint16)).sum(axis=1, dtype=np.uint16)
