"""Draws detections on images, and arranges images on contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tfod.detection.counting import Count
from tfod.detection.detections import Detections
from tfod.text import printable

MARGIN = 8  # pixels between lines of text
COUNTED = (255, 221, 0)  # color of lines, zones and their counts


def draw_detections(
    pixels: np.ndarray, detections: Detections, with_scores: bool = True
) -> np.ndarray:
    """Draws boxes, names and scores, one color per class, and the numbers of tracked objects.

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
        printable(text) for text in (detections.titles() if with_scores else detections.names)
    ]
    thickness = sv.calculate_optimal_line_thickness((width, height))
    scale = max(0.5, sv.calculate_optimal_text_scale((width, height)))  # legible on small images
    scene = sv.BoxAnnotator(thickness=thickness).annotate(pixels[..., ::-1].copy(), boxes)
    # smart_position keeps labels inside the image and prevents overlaps.
    annotator = sv.LabelAnnotator(text_scale=scale, text_padding=3, smart_position=True)
    drawn = annotator.annotate(scene, boxes, labels)
    return np.ascontiguousarray(drawn[..., ::-1])


def draw_counts(pixels: np.ndarray, counts: Sequence[Count]) -> np.ndarray:
    """Draws lines and zones, and a table of their counts in the upper left corner.

    An arrow shows the direction `in` of a line.

    Args:
      pixels: uint8 `[H, W, 3]` RGB.

    Returns:
      `pixels` if there are no counts, otherwise a new uint8 `[H, W, 3]` RGB.
    """
    if not counts:
        return pixels
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    text_height = max(14, image.height // 36)
    font = ImageFont.load_default(text_height)
    thickness = max(2, image.height // 240)
    top: float = MARGIN
    for count in counts:
        points = np.array(count.place.points)
        closed = points if count.place.is_line else np.vstack([points, points[:1]])
        draw.line([tuple(point) for point in closed.tolist()], COUNTED, thickness)
        middle = points.mean(axis=0)
        if count.place.is_line:
            along = (points[1] - points[0]) / np.linalg.norm(points[1] - points[0])
            inward = np.array([along[1], -along[0]]) * text_height
            corners = [middle + inward, middle + along * text_height / 2]
            corners.append(middle - along * text_height / 2)
            draw.polygon([tuple(corner) for corner in np.array(corners).tolist()], COUNTED)
            middle = middle + along * text_height - inward
        for place, anchor, text in (
            (tuple(middle.tolist()), "mm", count.place.name),
            ((MARGIN, top), "la", printable(str(count))),
        ):
            box = draw.textbbox(place, text, font, anchor)
            draw.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), "black")
            draw.text(place, text, COUNTED, font, anchor)
        top = box[3] + MARGIN
    return np.asarray(image)


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
