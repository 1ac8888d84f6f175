"""Detections as a file in COCO's results format, from wherever they were made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfod.annotation import Annotation
from tfod.boxes import pixel_xyxy_to_normalized_yxyx, xywh_to_xyxy, xyxy_to_xywh
from tfod.detection.detections import Detections, detections_from_outputs
from tfod.errors import UserError
from tfod.files import load_json, replacing_file

REMEDY = (
    'Give a list of {"image_id": FILE_NAME, "category_id": ID, "bbox": [x, y, width, height], '
    '"score": S}'
)
LARGEST = 1e9  # pixels; JSON knows no bounds


def write_results(path: Path, truths: Sequence[Annotation], found: Sequence[Detections]) -> None:
    """Writes a list of one entry a detection.

    `image_id` is the picture's source id, in our data sets its file name; `category_id` the id in
    the label map; `bbox` x, y, width, height in pixels.

    Args:
      truths: the pictures.
      found: what was found in each.

    Raises:
      UserError: the file cannot be written.
    """
    entries = [
        entry
        for truth, detections in zip(truths, found, strict=True)
        for entry in result_entries(truth.source_id, truth.width, truth.height, detections)
    ]
    with replacing_file(path) as partial:
        partial.write_text(json.dumps(entries, indent=0) + "\n", encoding="utf-8")


def result_entries(image_id: str, width: int, height: int, detections: Detections) -> list[dict]:
    """One entry a detection in a picture of that size; see `write_results`."""
    corners = detections.to_pixels_xyxy(width, height).astype(float)
    boxes = np.stack(xyxy_to_xywh(*corners.T), axis=1)
    return [
        {
            "image_id": image_id,
            "category_id": class_id,
            "bbox": [round(edge, 3) for edge in box],
            "score": round(score, 6),
        }
        for class_id, box, score in zip(
            *(detections.class_ids.tolist(), boxes.tolist(), detections.scores.tolist()),
            strict=True,
        )
    ]


def read_results(
    path: Path, truths: Sequence[Annotation], labels: dict[int, str]
) -> list[Detections]:
    """Reads what was found in each of these pictures; the inverse of `write_results`.

    An `image_id` may be the source id with or without its suffix, or a number where source ids
    are numbers. A picture without an entry is one where nothing was found.

    Args:
      truths: the pictures.
      labels: the label map, id to name.

    Raises:
      UserError: the file is no such list, or an entry names a picture or class that is not there,
        or has a box or score that is none. The line names the entry, from 1.
    """
    pictures: dict[str, int] = {}
    for number, truth in enumerate(truths):
        for key in (truth.source_id, str(Path(truth.source_id).with_suffix(""))):
            pictures.setdefault(key, number)
    rows: list[list[tuple]] = [[] for _ in truths]
    for number, entry in enumerate(_load(path), 1):
        fault = _fault(entry, pictures, labels)
        if fault:
            raise UserError(path, f"entry {number} {fault}", REMEDY)
        picture = pictures[str(entry["image_id"])]
        rows[picture].append((*xywh_to_xyxy(*entry["bbox"]), entry["score"], entry["category_id"]))
    found = []
    for of_picture, truth in zip(rows, truths, strict=True):
        table = np.array(of_picture, float).reshape(-1, 6)
        boxes = pixel_xyxy_to_normalized_yxyx(table[:, :4], truth.width, truth.height)
        found.append(detections_from_outputs(boxes, table[:, 4], table[:, 5], labels))
    return found


def _load(path: Path) -> list:
    content = load_json(path, REMEDY)
    if not isinstance(content, list):
        raise UserError(path, "is no list of detections", REMEDY)
    return content


def _fault(entry, pictures: dict[str, int], labels: dict[int, str]) -> str | None:
    """What is wrong with an entry, to follow its number."""
    if not isinstance(entry, dict):
        return "is no object"
    missing = {"image_id", "category_id", "bbox", "score"} - entry.keys()
    if missing:
        return f"has no {min(missing)!r}"
    class_id, score = entry["category_id"], entry["score"]
    if str(entry["image_id"]) not in pictures:
        return f"names the image {_short(entry['image_id'])}, which is not in the split"
    if isinstance(class_id, bool) or not isinstance(class_id, int) or class_id not in labels:
        known = ", ".join(f"{number} {name}" for number, name in labels.items())
        return f"names the category {_short(class_id)}, and there are {known}"
    if not _is_number(score) or not 0 <= score <= 1:
        return f"has the score {_short(score)}, which is not from 0 to 1"
    return _box_fault(entry["bbox"])


def _box_fault(box) -> str | None:
    if not isinstance(box, list) or len(box) != 4:
        return f"has the bbox {_short(box)}, which is not four numbers"
    if not all(map(_is_number, box)) or min(box[2:]) < 0:
        return f"has the bbox {_short(box)}, which is none"
    return None


def _is_number(value) -> bool:
    """Neither NaN nor infinite, nor an integer that no float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
