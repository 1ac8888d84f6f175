"""Reads and writes detections in COCO's results format."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

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
LARGEST = 1e9  # pixels; JSON numbers have no limit


def write_results(
    path: Path, ground_truth: Sequence[Annotation], detections: Sequence[Detections]
) -> None:
    """Writes a list with one entry per detection.

    `image_id` is the source id of the image, in data sets of `tfod convert` its path relative to
    the image folder; `category_id` is the id in the label map; `bbox` is x, y, width, height in
    pixels.

    Args:
      ground_truth: one annotation per image, for its source id and size.
      detections: for the same images, in the same order.

    Raises:
      UserError: the file cannot be written.
    """
    with (
        replacing_file(path) as partial,
        partial.open("w", encoding="utf-8") as file,
        entries_file(file) as write,
    ):
        for annotation, in_image in zip(ground_truth, detections, strict=True):
            size = (annotation.width, annotation.height)
            write(result_entries(annotation.source_id, *size, in_image))


@contextmanager
def entries_file(file: TextIO) -> Iterator[Callable[[list[dict]], None]]:
    """Yields a function that writes some entries to a list in a JSON file, one per line."""
    separator = "[\n"

    def write(entries: list[dict]) -> None:
        nonlocal separator
        for entry in entries:
            file.write(separator + json.dumps(entry))
            separator = ",\n"

    yield write
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def result_entries(image_id: str, width: int, height: int, detections: Detections) -> list[dict]:
    """Returns one entry per detection in an image of this size; see `write_results`."""
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
    path: Path, ground_truth: Sequence[Annotation], labels: dict[int, str]
) -> list[Detections]:
    """Reads the detections of these images; the inverse of `write_results`.

    An `image_id` may be the source id or the file name. It may lack the suffix, and may be a
    number, if this identifies one image. An image without entries has no detections.

    Args:
      ground_truth: one annotation per image.
      labels: the label map, id to name.

    Raises:
      UserError: the file is not a list of entries; or an entry has an unknown image or class, or
        an invalid box or score. The message gives the number of the entry, from 1.
    """
    images = _images_by_id(ground_truth)
    indices, values = array("q"), array("d")  # image; box, score and class: 56 bytes per entry
    read = object()

    def read_entry(entry: dict) -> Any:
        """Replaces a valid entry while the file is parsed: dicts would take ten times as much."""
        if _fault(entry, images, labels):
            return entry
        indices.append(images[str(entry["image_id"])])
        values.extend((*xywh_to_xyxy(*entry["bbox"]), entry["score"], entry["category_id"]))
        return read

    content = load_json(path, REMEDY, read_entry)
    if not isinstance(content, list):
        raise UserError(path, "is not a list of detections", REMEDY)
    for number, entry in enumerate(content, 1):
        if entry is not read:
            raise UserError(path, f"entry {number} {_fault(entry, images, labels)}", REMEDY)
    image = np.asarray(indices, np.int64)
    table = np.asarray(values, float).reshape(-1, 6)[np.argsort(image, kind="stable")]
    ends = np.cumsum(np.bincount(image, minlength=len(ground_truth)))
    detections = []
    for rows, annotation in zip(np.split(table, ends[:-1]), ground_truth, strict=True):
        boxes = pixel_xyxy_to_normalized_yxyx(rows[:, :4], annotation.width, annotation.height)
        detections.append(detections_from_outputs(boxes, rows[:, 4], rows[:, 5], labels))
    return detections


def _images_by_id(ground_truth: Sequence[Annotation]) -> dict[str, int]:
    """Returns the index of an image by everything that identifies it."""
    names = []
    for annotation in ground_truth:
        source = Path(annotation.source_id)
        names.append({str(source.with_suffix("")), source.name, source.stem})
    uses = Counter(name for image_names in names for name in image_names)
    images = {
        name: index
        for index, image_names in enumerate(names)
        for name in image_names
        if uses[name] == 1
    }
    return images | {annotation.source_id: i for i, annotation in enumerate(ground_truth)}


def _fault(entry: Any, images: dict[str, int], labels: dict[int, str]) -> str | None:
    """Says what is wrong with an entry, to follow its number in a message; None if valid."""
    if not isinstance(entry, dict):
        return "is not a JSON object"
    missing = {"image_id", "category_id", "bbox", "score"} - entry.keys()
    if missing:
        return f"has no {min(missing)!r}"
    class_id, score = entry["category_id"], entry["score"]
    if str(entry["image_id"]) not in images:
        return f"has the image_id {_short(entry['image_id'])}, which is not in the split"
    if isinstance(class_id, bool) or not isinstance(class_id, int) or class_id not in labels:
        known = ", ".join(f"{number} {name}" for number, name in labels.items())
        return f"has the category_id {_short(class_id)}, which is not in the label map ({known})"
    if not _is_number(score) or not 0 <= score <= 1:
        return f"has the score {_short(score)}, which is not in [0, 1]"
    return _box_fault(entry["bbox"])


def _box_fault(box: Any) -> str | None:
    if not isinstance(box, list) or len(box) != 4:
        return f"has the bbox {_short(box)}, which is not a list of four numbers"
    if not all(map(_is_number, box)) or min(box[2:]) < 0:
        return f"has the bbox {_short(box)}, which is not a valid box"
    return None


def _is_number(value: Any) -> bool:
    """Accepts neither NaN nor infinity, nor integers that do not fit a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
