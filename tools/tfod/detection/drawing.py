"""Draws detections on images, and arranges images on contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from tfod.detection.detections import Detections
from tfod.text import printable


def draw_detections(
    pixels: np.ndarray, detections: Detections, with_scores: bool = True
) -> np.ndarray:
    """Draws boxes, names and scores, one color per class.

    Args:
      pixels: uint8 `[H, W, 3]` RGB.
      detections: all of them are drawn.
      with_scores: False for ground truth.

    Returns:
      A new uint8 `[H, W, 3]` RGB.
    """
    import supervision as sv

    height, width = pixels.shape[:2]
    if not len(detections):
        return pixels.copy()
    boxes = sv.Detections(
        xyxy=detections.to_pixels_xyxy(width, height),
        confidence=detections.scores,
        class_id=detections.class_ids - 1,
    )
    labels = [
        printable(f"{name} {score:.0%}" if with_scores else name)
        for name, score in zip(detections.names, detections.scores, strict=True)
    ]
    thickness = sv.calculate_optimal_line_thickness((width, height))
    scale = max(0.5, sv.calculate_optimal_text_scale((width, height)))  # legible on small images
    scene = sv.BoxAnnotator(thickness=thickness).annotate(pixels[..., ::-1].copy(), boxes)
    # smart_position keeps labels inside the image and prevents overlaps.
    annotator = sv.LabelAnnotator(text_scale=scale, text_padding=3, smart_position=True)
    drawn = annotator.annotate(scene, boxes, labels)
    return np.ascontiguousarray(drawn[..., ::-1])


def contact_sheet(images: Sequence[np.ndarray], columns: int = 4, tile: int = 320) -> Image.Image:
    """Arranges images in a grid, each fitted into a square of `tile` pixels.

    Args:
      images: uint8 `[H, W, 3]` RGB each, of any size; at least one.
      columns: images per row.
      tile: edge of a square, pixels.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * tile, rows * tile), "white")
    for index, image in enumerate(images):
        fitted = ImageOps.pad(Image.fromarray(image), (tile - 8, tile - 8), color="white")
        sheet.paste(fitted, (index % columns * tile + 4, index // columns * tile + 4))
    return sheet
