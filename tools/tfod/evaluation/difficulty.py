"""Results by what makes images and objects hard: crowding, light, blur and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
from PIL import Image

from tfod.evaluation.coco_evaluation import BOX, coco_evaluation, mean_of_known
from tfod.evaluation.image_results import image_results
from tfod.evaluation.matching import Matching
from tfod.evaluation.metrics import Metrics
from tfod.text import percent

if TYPE_CHECKING:
    import pandas as pd

# COCO's area ranges, in square pixels: from, to
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
GROUPS = 3  # of images, with about the same number each
MEASURED_EDGE = 640  # pixels; larger images are reduced first, as a model does


@dataclass(frozen=True)
class ImageQuality:
    """What the pixels of an image say about its difficulty.

    Attributes:
      brightness: mean gray level, from 0 for black to 255 for white.
      sharpness: variance of the Laplacian of the gray levels, the lower the more blurred. Source:
        Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
    """

    brightness: float
    sharpness: float


def measure_quality(pixels: np.ndarray) -> ImageQuality:
    """Measures an image: uint8 `[H, W, 3]` RGB."""
    image = Image.fromarray(pixels).convert("L")
    image.thumbnail((MEASURED_EDGE, MEASURED_EDGE))
    gray = np.asarray(image, float)
    return ImageQuality(float(gray.mean()), float(scipy.ndimage.laplace(gray).var()))


def difficulty_table(
    metrics: Metrics, matching: Matching, qualities: Sequence[ImageQuality]
) -> pd.DataFrame:
    """Evaluates groups of images, and objects by their size.

    Images are divided into `GROUPS` of about the same number by each property; equal values stay
    together. The groups of sizes contain objects of all images. They are COCO's, in pixels of the
    original image.

    Args:
      metrics, matching: of the whole split, from `metrics.evaluate`.
      qualities: one per image of the split.

    Returns:
      One row per group, such as "brightness: 12 to 80": `images`, `objects`, `identified` and
      `false` (percentages of the objects, at the threshold of the metrics), and `AP`, which is NaN
      without objects. False detections belong to no object, so to no size.
    """
    import pandas as pd

    results = pd.DataFrame(image_results(matching, metrics.threshold))
    counts = results.set_index("image").sort_index()
    properties = {
        "objects per image": counts["objects"].to_numpy(),
        "brightness": np.array([quality.brightness for quality in qualities]),
        "sharpness": np.array([quality.sharpness for quality in qualities]),
    }
    rows = {}
    for title, values in properties.items():
        for images in _groups(values):
            low, high = (f"{edge:.0f}" for edge in (values[images].min(), values[images].max()))
            selected = counts.loc[images]
            objects = int(selected["objects"].sum())
            rows[f"{title}: {low}" + (f" to {high}" if high != low else "")] = {
                "images": str(len(images)),
                "objects": objects,
                "identified": percent(int(selected["identified"].sum()), objects),
                "false": percent(int(selected["false"].sum()), objects),
                "AP": _average_precision(matching, images),
            }
    rows |= _sizes(metrics, matching)
    return pd.DataFrame.from_dict(rows, orient="index").astype({"AP": float})


def _groups(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the indices of the images in each group, from low values to high ones."""
    limits = np.quantile(values, np.arange(1, GROUPS) / GROUPS)
    groups = np.searchsorted(limits, values)
    for group in np.unique(groups):
        yield np.flatnonzero(groups == group)


def _average_precision(matching: Matching, images: np.ndarray) -> float | None:
    """Returns the AP of some images."""
    numbers = {image: number for number, image in enumerate(images)}

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        selected = table[table["image"].isin(images)]
        return selected.assign(image=selected["image"].map(numbers)).reset_index(drop=True)

    evaluation = coco_evaluation(
        rows(matching.objects), rows(matching.detections), matching.classes
    )
    return mean_of_known(evaluation.precision[:, :, :, 0, -1])


def _sizes(metrics: Metrics, matching: Matching) -> dict[str, dict[str, object]]:
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    above = matching.detections[matching.detections["score"] >= metrics.threshold]
    identified = objects.index.isin(above["object"])
    corners = objects[BOX].to_numpy(float)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    rows = {}
    for name, (least, most) in SIZES.items():
        of_size = (areas >= least) & (areas < most)
        count = int(of_size.sum())
        rows[f"{name} objects"] = {
            "images": "-",
            "objects": count,
            "identified": percent(int((of_size & identified).sum()), count),
            "false": "-",
            "AP": metrics.coco[f"AP_{name}"],
        }
    return rows
