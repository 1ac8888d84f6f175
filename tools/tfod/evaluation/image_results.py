"""Ranks images by their detection mistakes, and draws ground truth and detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfod.evaluation.coco_evaluation import BOX
from tfod.evaluation.error_analysis import mistakes
from tfod.evaluation.matching import Matching
from tfod.text import printable

OK, SO_SO, KO = RESULTS = ("ok", "so_so", "ko")
# From the color-blind safe palette of Okabe and Ito; light, for black text on top.
CORRECT, FALSE, MISSED, TRUTH = "#56B4E9", "#F0E442", "#E69F00", "#FFFFFF"


@dataclass(frozen=True)
class ImageResult:
    """The result of a detector on one image, at a threshold.

    Attributes:
      image: index in the split.
      objects, identified, false: as in `counts.Count`.
      worst: highest score of a false detection; 0 without false detections.
    """

    image: int
    objects: int
    identified: int
    false: int
    worst: float = 0.0

    @property
    def name(self) -> str:
        """ok: all objects identified, nothing false; ko: no correct detection; so_so: the rest."""
        if self.identified == self.objects and not self.false:
            return OK
        return SO_SO if self.identified else KO


def image_results(matching: Matching, threshold: float) -> list[ImageResult]:
    """Returns one result per image, worst first: most mistakes, then the highest `worst` score."""
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    detections = matching.detections
    above = detections[(detections["score"] >= threshold) & ~detections["ignored"]]
    correct, false = above[above["object"] >= 0], above[above["object"] < 0]
    indices = range(matching.images)
    columns = zip(
        indices,
        *(
            table["image"].value_counts().reindex(indices, fill_value=0).tolist()
            for table in (objects, correct, false)
        ),
        false.groupby("image")["score"].max().reindex(indices, fill_value=0.0).tolist(),
        strict=True,
    )
    return sorted(
        (ImageResult(*row) for row in columns),
        key=lambda result: (
            result.identified - result.objects - result.false,
            -result.worst,
            result.image,
        ),
    )


def draw_image_result(
    pixels: np.ndarray, matching: Matching, image: int, threshold: float
) -> np.ndarray:
    """Draws ground truth as box corners, and detections as boxes.

    White corners mark identified objects and crowds; orange corners, with a label, mark missed
    objects. Blue boxes are correct detections; yellow boxes are false ones, labeled with the kind
    of mistake (`error_analysis.mistakes`).

    Args:
      pixels: uint8 `[H, W, 3]` RGB.
      image: index in the split.

    Returns:
      A new uint8 `[H, W, 3]` RGB.
    """
    import supervision as sv

    of_image = matching.of_image(image)
    kinds = mistakes(of_image, threshold).set_index("detection")["kind"].to_dict()
    objects, detections = of_image.objects, of_image.detections
    detections = detections[detections["score"] >= threshold]
    is_identified = objects.index.isin(detections["object"]) | objects["crowd"].astype(bool)
    is_correct = (detections["object"] >= 0) | detections["ignored"]
    size = (pixels.shape[1], pixels.shape[0])
    thickness = sv.calculate_optimal_line_thickness(size)
    scale = max(0.5, sv.calculate_optimal_text_scale(size))
    scene = pixels[..., ::-1].copy()
    for rows, hex_color, is_truth in (
        (objects[is_identified], TRUTH, True),
        (objects[~is_identified], MISSED, True),
        (detections[is_correct], CORRECT, False),
        (detections[~is_correct], FALSE, False),
    ):
        if rows.empty:
            continue
        boxes = sv.Detections(xyxy=rows[BOX].to_numpy(float))
        color, lookup = sv.Color.from_hex(hex_color), sv.ColorLookup.INDEX
        if is_truth:
            corners = sv.BoxCornerAnnotator(
                color=color, thickness=2 * thickness, corner_length=12, color_lookup=lookup
            )
            scene = corners.annotate(scene, boxes)
        else:
            outlines = sv.BoxAnnotator(color=color, thickness=thickness, color_lookup=lookup)
            scene = outlines.annotate(scene, boxes)
        if hex_color == TRUTH:
            continue
        labels = [f"missed {name}" for name in rows["name"]]
        if not is_truth:
            labels = [
                f"{name} {score:.0%}" + (f" {kinds[row]}" if row in kinds else "")
                for row, name, score in rows[["name", "score"]].itertuples()
            ]
        annotator = sv.LabelAnnotator(
            color=color,
            color_lookup=lookup,
            text_scale=scale,
            text_padding=3,
            text_color=sv.Color.BLACK,
            text_position=sv.Position.BOTTOM_LEFT if is_truth else sv.Position.TOP_LEFT,
            smart_position=True,
        )
        scene = annotator.annotate(scene, boxes, list(map(printable, labels)))
    return np.ascontiguousarray(scene[..., ::-1])
