"""Ground truth and detections small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfod.annotation import Annotation, Box
from tfod.detection.detections import Detections, detections_from_outputs

CLASSES = {1: "cat", 2: "dog"}
CAT = Box("cat", 10, 20, 50, 80)
DOG = Box("dog", 100, 10, 110, 30)


def truth(*boxes: Box) -> Annotation:
    """Returns the annotation of a 200 x 100 image."""
    return Annotation(Path("a.xml"), Path("a.jpg"), 200, 100, boxes)


def detected(*rows: tuple[str, float, float, float, float, float]) -> Detections:
    """Returns detections from rows of name, score, xmin, ymin, xmax, ymax, in a 200 x 100 image."""
    ids = {name: class_id for class_id, name in CLASSES.items()}
    return detections_from_outputs(
        np.array([[y1 / 100, x1 / 200, y2 / 100, x2 / 200] for _, _, x1, y1, x2, y2 in rows])
        .reshape(-1, 4)
        .astype(np.float32),
        np.array([row[1] for row in rows], np.float32),
        np.array([ids[row[0]] for row in rows]),
        CLASSES,
    )
