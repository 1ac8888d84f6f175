"""Pictures sorted by how much was found in them, with ground truth and detections drawn apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.evaluation.error_analysis import mistakes
from tfod.evaluation.matching import BOX, Matching

if TYPE_CHECKING:
    import pandas as pd

OK, SO_SO, KO = RESULTS = ("ok", "so_so", "ko")
# Of Okabe and Ito's palette, which the colour-blind tell apart; light, for black letters on them.
RIGHT, FALSE, MISSED, TRUTH = "#56B4E9", "#F0E442", "#E69F00", "#FFFFFF"


@dataclass(frozen=True)
class ImageResult:
    """How a detector did on one picture, at a threshold.

    Attributes:
      picture: its number.
      objects, identified, false: as in `counts.Count`.
      worst: highest score of a false detection; 0 without any.
    """

    picture: int
    objects: int
    identified: int
    false: int
    worst: float = 0.0

    @property
    def name(self) -> str:
        """ok: every object and nothing else was found; ko: nothing right was; else so_so."""
        if self.identified == self.objects and not self.false:
            return OK
        return SO_SO if self.identified else KO


def image_results(matching: Matching, threshold: float) -> list[ImageResult]:
    """A result a picture, the worst picture first: most mistakes, then the surest mistake."""
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    detections = matching.detections
    taken = detections[(detections["score"] >= threshold) & ~detections["ignored"]]
    right, false = taken[taken["object"] >= 0], taken[taken["object"] < 0]
    numbers = range(matching.pictures)
    of_pictures = zip(
        numbers,
        *(
            table["picture"].value_counts().reindex(numbers, fill_value=0).tolist()
            for table in (objects, right, false)
        ),
        false.groupby("picture")["score"].max().reindex(numbers, fill_value=0.0).tolist(),
        strict=True,
    )
    return sorted(
        (ImageResult(*of_picture) for of_picture in of_pictures),
        key=lambda each: (
            each.identified - each.objects - each.false,
            -each.worst,
            each.picture,
        ),
    )


def draw_image_result(
    pixels: np.ndarray, matching: Matching, picture: int, threshold: float
) -> np.ndarray:
    """Draws what was to be found as corners, and what was found as boxes.

    White corners are objects that were found, orange ones, with a name, objects that were missed;
    blue boxes are right, yellow ones false, with what is wrong (`error_analysis.mistakes`).

    Args:
      pixels: uint8 `[H, W, 3]` RGB.
      picture: its number.

    Returns:
      A new uint8 `[H, W, 3]` RGB.
    """
    import supervision as sv

    of_picture = mistakes(_only(matching, picture), threshold)
    kinds = of_picture.set_index("detection")["kind"].to_dict()
    objects = matching.objects[matching.objects["picture"] == picture]
    found = matching.detections[
        (matching.detections["picture"] == picture) & (matching.detections["score"] >= threshold)
    ]
    is_found = objects.index.isin(found["object"]) | objects["crowd"].astype(bool)
    right = (found["object"] >= 0) | found["ignored"]
    size = (pixels.shape[1], pixels.shape[0])
    thickness = sv.calculate_optimal_line_thickness(size)
    scale = max(0.5, sv.calculate_optimal_text_scale(size))
    scene = pixels[..., ::-1].copy()
    for rows, colour, is_truth in (
        (objects[is_found], TRUTH, True),
        (objects[~is_found], MISSED, True),
        (found[right], RIGHT, False),
        (found[~right], FALSE, False),
    ):
        if rows.empty:
            continue
        boxes = sv.Detections(xyxy=rows[BOX].to_numpy(float))
        paint = {"color": sv.Color.from_hex(colour), "color_lookup": sv.ColorLookup.INDEX}
        if is_truth:
            corners = sv.BoxCornerAnnotator(thickness=2 * thickness, corner_length=12, **paint)
            scene = corners.annotate(scene, boxes)
        else:
            scene = sv.BoxAnnotator(thickness=thickness, **paint).annotate(scene, boxes)
        if colour == TRUTH:
            continue
        labels = [f"missed {name}" for name in rows["name"]]
        if not is_truth:
            labels = [
                f"{name} {score:.0%}" + (f" {kinds[row]}" if row in kinds else "")
                for row, name, score in rows[["name", "score"]].itertuples()
            ]
        labeller = sv.LabelAnnotator(
            text_scale=scale,
            text_padding=3,
            text_color=sv.Color.BLACK,
            text_position=sv.Position.BOTTOM_LEFT if is_truth else sv.Position.TOP_LEFT,
            smart_position=True,
            **paint,
        )
        scene = labeller.annotate(scene, boxes, labels)
    return np.ascontiguousarray(scene[..., ::-1])


def _only(matching: Matching, picture: int) -> Matching:
    tables = (matching.objects, matching.detections)
    rows: Sequence[pd.DataFrame] = [table[table["picture"] == picture] for table in tables]
    return Matching(*rows, matching.classes, matching.pictures)
