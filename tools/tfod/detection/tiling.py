"""Detects small objects in a large image: in its tiles, whose detections are then merged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.detection.detections import Detections, detections_from_outputs
from tfod.tiles import Tiles, Window

SAME = 0.5  # IoU above which two boxes are the same object
PART = 0.5  # fraction of a cut box inside another one, above which it is a part of that object
CUT = 0.01  # fraction of a tile: boxes that come this close to its edge are cut


def detect_in_tiles(
    detect: Callable[[np.ndarray], Detections],
    pixels: np.ndarray,
    tiles: Tiles,
    labels: dict[int, str],
) -> Detections:
    """Runs a detector on each tile of an image and merges the detections.

    An object between two tiles is complete in one of them and cut in the other, and may be detected
    in both. So of detections of the same class, complete ones come before cut ones, and better ones
    before worse ones. One is dropped if it has an IoU above `SAME` with an earlier one, or if it is
    cut and lies in an earlier one with more than the fraction `PART` of its area.

    Args:
      detect: returns the detections in uint8 `[h, w, 3]` RGB pixels.
      pixels: uint8 `[H, W, 3]` RGB.
      labels: label map, id to name.
    """
    height, width = pixels.shape[:2]
    windows = tiles.windows(width, height)
    if len(windows) == 1:
        return detect(pixels)
    boxes, scores, class_ids, cut = [], [], [], []
    for window in windows:
        xmin, ymin, xmax, ymax = window
        found = detect(np.ascontiguousarray(pixels[ymin:ymax, xmin:xmax]))
        in_image = found.to_pixels_xyxy(xmax - xmin, ymax - ymin) + np.array([xmin, ymin] * 2)
        boxes.append(in_image)
        scores.append(found.scores)
        class_ids.append(found.class_ids)
        cut.append(_is_cut(in_image, window, width, height))
    all_boxes, all_scores, all_ids, all_cut = map(np.concatenate, (boxes, scores, class_ids, cut))
    kept = [
        index
        for class_id in np.unique(all_ids)
        for index in _merge(all_boxes, all_scores, all_cut, np.flatnonzero(all_ids == class_id))
    ]
    normalized = pixel_xyxy_to_normalized_yxyx(all_boxes[kept], width, height)
    return detections_from_outputs(normalized, all_scores[kept], all_ids[kept], labels)


def _is_cut(boxes: np.ndarray, window: Window, width: int, height: int) -> np.ndarray:
    """Returns, for each box, whether it touches an edge of its tile that is not an image edge."""
    xmin, ymin, xmax, ymax = window
    margin_x, margin_y = CUT * (xmax - xmin), CUT * (ymax - ymin)
    return (
        ((boxes[:, 0] < xmin + margin_x) & (xmin > 0))
        | ((boxes[:, 1] < ymin + margin_y) & (ymin > 0))
        | ((boxes[:, 2] > xmax - margin_x) & (xmax < width))
        | ((boxes[:, 3] > ymax - margin_y) & (ymax < height))
    )


def _merge(
    boxes: np.ndarray, scores: np.ndarray, cut: np.ndarray, indices: np.ndarray
) -> list[int]:
    """Returns those of the indices, of boxes of one class, that stay."""
    order = indices[np.lexsort((-scores[indices], cut[indices]))]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[order, 2:])
        sides = sides - np.maximum(boxes[best, :2], boxes[order, :2])
        common = np.prod(np.maximum(sides, 0), axis=1)
        same = common > SAME * (areas[best] + areas[order] - common)
        part = cut[order] & (common > PART * areas[order])
        order = order[~(same | part)]
    return kept
