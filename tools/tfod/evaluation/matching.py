"""Tables of ground truth and detections, and their matches. All evaluation builds on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.detection.detections import Detections
from tfod.evaluation.coco_evaluation import BOX

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Matching:
    """Ground truth and detections of a split, matched at IoU 0.5.

    A detection matches an object if both have the same class, their IoU is at least 0.5, and no
    detection with a higher score matches that object (`coco_matching.match`).

    Attributes:
      objects: one row per ground truth object, in the order of the images: `image` (index in the
        split), `name`, `difficult`, `crowd`, and the box in pixels: xmin, ymin, xmax, ymax.
      detections: one row per detection, in the same order: `image`, `name`, `score`, the box as in
        `objects`, `object` (the matching row of `objects`, -1 for none) and `ignored` (inside a
        crowd, or not among the 100 best of its class in the image, so neither correct nor false).
      classes: class names, in the order of the data set.
      images: number of images.
    """

    objects: pd.DataFrame
    detections: pd.DataFrame
    classes: tuple[str, ...]
    images: int

    def of_image(self, image: int) -> Matching:
        """Returns the objects and detections of one image, whose rows keep their labels."""

        def rows(table: pd.DataFrame) -> pd.DataFrame:
            start, end = np.searchsorted(table["image"].to_numpy(), (image, image + 1))
            return table.iloc[start:end]

        return Matching(rows(self.objects), rows(self.detections), self.classes, self.images)


def objects_table(ground_truth: Sequence[Annotation]) -> pd.DataFrame:
    """Builds `Matching.objects` from one annotation per image."""
    import pandas as pd

    return pd.DataFrame(
        [
            (image, box.name, box.difficult, box.crowd, *box.corners)
            for image, annotation in enumerate(ground_truth)
            for box in annotation.objects
        ],
        columns=["image", "name", "difficult", "crowd", *BOX],
    )


def detections_table(
    ground_truth: Sequence[Annotation], detections: Sequence[Detections]
) -> pd.DataFrame:
    """Builds `Matching.detections` without the columns `object` and `ignored`."""
    import pandas as pd

    counts = list(map(len, detections))
    boxes = [
        in_image.to_pixels_xyxy(annotation.width, annotation.height)
        for annotation, in_image in zip(ground_truth, detections, strict=True)
    ]
    # Not row by row: a tuple for each of millions of detections would need gigabytes.
    table = pd.DataFrame(
        {
            "image": np.repeat(np.arange(len(counts)), counts),
            "name": [name for in_image in detections for name in in_image.names],
            # float32, so that a threshold keeps the same detections as `Detections.above`.
            "score": _concatenate([in_image.scores for in_image in detections], 1),
        }
    )
    return table.join(pd.DataFrame(_concatenate(boxes, 2).astype(float), columns=BOX))


def _concatenate(parts: list[np.ndarray], dimensions: int) -> np.ndarray:
    """Returns float32 `[N]` or `[N, 4]`, also without parts."""
    empty = np.zeros((0, 4)[:dimensions], np.float32)
    return np.concatenate([empty, *parts], dtype=np.float32)
