"""Reads COCO JSON, as exported by CVAT, Roboflow and Label Studio; one result per image."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, subfolder_of
from tfod.boxes import xywh_to_xyxy
from tfod.errors import FileFault, UserError, quoted
from tfod.files import load_json

REMEDY = "Export as COCO JSON for object detection"


def read_json(path: Path, root: Path | None = None) -> list[RawAnnotation]:
    """Reads a file with `images`, `annotations` and `categories`, in the order of `images`.

    A `bbox` is x, y, width, height in pixels, with x and y of the top left corner. `iscrowd`
    becomes `Box.crowd`; `occluded` is read from CVAT's `attributes`. Segmentations and scores are
    ignored.

    Args:
      root: the annotation folder, see `voc.read_xml`.

    Raises:
      UserError: the file cannot be read, is not COCO JSON, or uses an id twice. Faults of a single
        image are in its `faults`: "bad value", "bad coordinate", "not COCO".
    """
    content = _load(path)
    _check_ids(path, "image", "images", (_key(image.get("id")) for image in content["images"]))
    categories = {
        (_key(category.get("id")), " ".join(str(category.get("name") or "").split()))
        for category in content["categories"]
    }
    _check_ids(path, "category", "categories", sorted(key for key, _ in categories))
    names = dict(categories)
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[_key(annotation.get("image_id"))].append(annotation)
    subfolder = subfolder_of(path, root)
    raw_annotations = []
    for image in content["images"]:
        annotations = by_image.pop(_key(image.get("id")), ())
        raw_annotations.append(_read_image(path, image, annotations, names, subfolder))
    if by_image:
        key = next(iter(by_image))
        count = sum(map(len, by_image.values()))
        subject = "1 annotation has" if count == 1 else f"{count} annotations have"
        what = f"{subject} an image_id that is not in 'images', such as {quoted(key)}"
        raise UserError(path, what, REMEDY)
    return raw_annotations


def is_manifest(path: Path) -> bool:
    """Returns whether a file is the `dataset.json` of a converted data set, which is not COCO."""
    if path.name != "dataset.json":
        return False
    try:
        content = load_json(path, REMEDY)
    except UserError:
        return False  # `read_json` reports it
    return isinstance(content, dict) and {"version", "splits"} <= content.keys()


def _load(path: Path) -> dict:
    content = load_json(path, REMEDY)
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(path, f"has no list {key!r}", REMEDY)
    return content


def _check_ids(path: Path, one: str, many: str, keys: Iterable[str]) -> None:
    """Raises a UserError if an id occurs twice."""
    for key, count in Counter(keys).items():
        if count > 1:
            what = f"has {count} {many} with the id {quoted(key)}"
            raise UserError(path, what, f"Give each {one} its own id")


def _key(value: object) -> str:
    """Makes ids comparable: some tools write the same id as a number here and as text there."""
    return str(value)


def _shown(value: object) -> str:
    """Returns an id for a message."""
    return str(value) if isinstance(value, int) else quoted(str(value))


def _read_image(
    path: Path,
    image: dict,
    annotations: Sequence[dict],
    names: dict[str, str],
    subfolder: str,
) -> RawAnnotation:
    filename = str(image.get("file_name") or "").replace("\\", "/").strip()
    message_prefix = f"{quoted(filename)}: "
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(path, kind, message_prefix + what, remedy))

    if not filename:
        report("not COCO", f"image {_shown(image.get('id'))} has no file_name", REMEDY)
    width, height = image.get("width"), image.get("height")
    if not all(side is None or (_is_number(side) and side >= 0) for side in (width, height)):
        what = f"its size is {quoted(str(width))} x {quoted(str(height))}"
        report("bad value", what, "Write the size of the image")
        width = height = None
    objects = []
    for annotation in annotations:
        label = f"annotation {_shown(annotation.get('id'))}"
        category = _key(annotation.get("category_id"))
        name = names.get(category)
        if not name:
            what = f"{label} has the category {quoted(category)}, which has no name"
            report("not COCO", what, "Add it to the categories")
            continue
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
            what = f"the bbox of {label} {quoted(name)} is {quoted(str(bbox))}"
            report("bad coordinate", what, "Write it as x, y, width, height in pixels")
            continue
        attributes = annotation.get("attributes")
        occluded = isinstance(attributes, dict) and attributes.get("occluded") is True
        crowd = annotation.get("iscrowd") in (1, True)
        corners = xywh_to_xyxy(*map(float, bbox))
        objects.append(RawBox(label, Box(name, *corners, occluded=occluded, crowd=crowd)))
    return RawAnnotation(
        source=path,
        filename=filename,
        objects=tuple(objects),
        subfolder=subfolder,
        size=(float(width), float(height)) if width and height else None,
        message_prefix=message_prefix,
        faults=tuple(faults),
    )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False
