"""Tests `detection.tiling`: tiles are detected one by one, and their detections merged."""

from __future__ import annotations

import numpy as np
import pytest

from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.detection.detector import Detector
from tfod.tiles import Tiles

LABELS = {1: "white", 2: "gray"}
VALUES = {1: 255, 2: 128}  # of the pixels of a class
TILES = Tiles(100, 0.2)


def find_squares(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """A network: finds the visible part of one object per class, with a score by its size."""
    boxes, scores, classes = [], [], []
    for class_id, value in VALUES.items():
        rows, columns = np.nonzero((pixels == value).all(axis=2))
        if len(rows):
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            scores.append(0.5 + len(rows) / 20_000)
            classes.append(class_id)
    corners = np.array(boxes, float).reshape(-1, 4)
    normalized = pixel_xyxy_to_normalized_yxyx(corners, pixels.shape[1], pixels.shape[0])
    return {
        "detection_boxes": normalized.astype(np.float32)[None],
        "detection_scores": np.array([scores], np.float32),
        "detection_classes": np.array([classes], np.float32),
        "num_detections": np.array([len(boxes)], np.float32),
    }


def draw(*objects: tuple[int, tuple[int, int, int, int]]) -> np.ndarray:
    pixels = np.zeros((240, 320, 3), np.uint8)
    for class_id, (xmin, ymin, xmax, ymax) in objects:
        pixels[ymin:ymax, xmin:xmax] = VALUES[class_id]
    return pixels


def found(pixels: np.ndarray, tiles: Tiles = TILES) -> list[tuple[int, tuple[int, ...]]]:
    detections = Detector(LABELS, find_squares, tiles=tiles).predict(pixels)
    boxes = np.rint(detections.to_pixels_xyxy(320, 240)).astype(int).tolist()
    return sorted((int(c), tuple(b)) for c, b in zip(detections.class_ids, boxes, strict=True))


@pytest.mark.parametrize("y", [0, 63, 78, 150, 222])
def test_each_object_is_detected_once_and_complete(y):
    for x in range(0, 300, 7):
        objects = [(1, (x, y, x + 18, y + 16))]
        assert found(draw(*objects)) == objects


def test_classes_do_not_suppress_each_other():
    # The gray object covers the middle of the white one.
    pixels = draw((1, (110, 110, 128, 128)), (2, (112, 112, 126, 126)))
    assert found(pixels) == [(1, (110, 110, 128, 128)), (2, (112, 112, 126, 126))]


def test_neighbors_are_kept():
    objects = [(1, (40, 20, 50, 30)), (1, (260, 20, 270, 30))]  # in different tiles
    assert found(draw(*objects)) == objects


def test_object_across_tiles_is_reported_in_parts():
    """Larger than the overlap: no tile contains it, and no part may hide another one."""
    parts = found(draw((1, (40, 20, 160, 40))))
    assert len(parts) == 2
    assert min(part[0] for _, part in parts) == 40
    assert max(part[2] for _, part in parts) == 160


def test_small_images_are_detected_whole():
    detector = Detector(LABELS, find_squares)
    pixels = draw((1, (100, 20, 118, 40)))
    expected = detector.predict(pixels)
    whole = Detector(LABELS, find_squares, tiles=Tiles(320)).predict(pixels)
    np.testing.assert_array_equal(whole.boxes, expected.boxes)
    np.testing.assert_array_equal(whole.scores, expected.scores)


def test_empty_image_has_no_detections():
    assert found(draw()) == []


def test_raw_outputs_are_those_of_the_whole_image():
    pixels = draw((1, (100, 20, 118, 40)))
    outputs = Detector(LABELS, find_squares, tiles=TILES).predict(pixels, raw=True)
    np.testing.assert_allclose(
        outputs["detection_boxes"], [[20 / 240, 100 / 320, 40 / 240, 118 / 320]], atol=1e-6
    )


def test_better_detection_comes_first():
    pixels = draw((1, (10, 10, 30, 30)), (1, (200, 200, 205, 205)))
    detections = Detector(LABELS, find_squares, tiles=TILES).predict(pixels)
    assert detections.scores[0] > detections.scores[1]
