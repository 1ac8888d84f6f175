"""COCO JSON, as CVAT, Roboflow and Label Studio export it -> a `RawAnnotation` a picture."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox
from tfod.boxes import xywh_to_xyxy
from tfod.errors import FileFault, UserError, quoted
from tfod.files import load_json

REMEDY = "Export as COCO JSON for object detection"


def read_json(path: Path, root: Path | None = None) -> list[RawAnnotation]:
    """Reads one file with `images`, `annotations` and `categories`, in the order of `images`.

    A `bbox` is x, y, width, height in pixels from the top left corner. `iscrowd` becomes
    `Box.crowd`; `occluded` is taken from the `attributes` that CVAT writes. Segmentations and
    scores are not used.

    Args:
      root: the folder of annotations, see `voc.read_xml`.

    Raises:
      UserError: it is no such file. What is wrong with one picture is in its `faults`: "bad value",
        "bad coordinate", "not COCO".
    """
    content = _load(path)
    names = {
        category.get("id"): " ".join(str(category.get("name") or "").split())
        for category in content["categories"]
    }
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[_key(annotation.get("image_id"))].append(annotation)
    subfolder = path.parent.relative_to(root).as_posix() if root and path.parent != root else ""
    read = []
    for image in content["images"]:
        drawn = by_image.pop(_key(image.get("id")), ())
        read.append(_read_image(path, image, drawn, names, subfolder))
    if by_image:
        key = next(iter(by_image))
        count = sum(map(len, by_image.values()))
        what = f"{count} of its annotations belong to no image that it lists, such as image {key}"
        raise UserError(path, what, REMEDY)
    return read


def _load(path: Path) -> dict:
    content = load_json(path, REMEDY)
    for part in ("images", "annotations", "categories"):
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(path, f"has no list {part!r}", REMEDY)
    return content


def _key(value: object) -> object:
    """What an id is compared by; some tools write it as text in one place only."""
    return value if isinstance(value, int) else str(value)


def _read_image(
    path: Path, image: dict, drawn: list[dict], names: dict[object, str], subfolder: str
) -> RawAnnotation:
    filename = str(image.get("file_name") or "").replace("\\", "/").strip()
    where = f"{quoted(filename)}: "
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(path, kind, where + what, remedy))

    if not filename:
        report("not COCO", f"image {image.get('id')} has no file_name", REMEDY)
    width, height = image.get("width"), image.get("height")
    if not all(side is None or (_is_number(side) and side >= 0) for side in (width, height)):
        what = f"its size is {quoted(str(width))} x {quoted(str(height))}"
        report("bad value", what, "Write the picture's size")
        width = height = None
    objects = []
    for annotation in drawn:
        label = f"annotation {annotation.get('id')}"
        name = names.get(annotation.get("category_id"))
        if not name:
            what = f"{label} has the category {annotation.get('category_id')!r}, which has no name"
            report("not COCO", what, "List it among the categories")
            continue
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
            what = f"the bbox of {label} {quoted(name)} is {quoted(str(bbox))}"
            report("bad coordinate", what, "Draw it again as an upright box")
            continue
        attributes = annotation.get("attributes")
        occluded = isinstance(attributes, dict) and attributes.get("occluded") is True
        crowd = annotation.get("iscrowd") in (1, True)
        corners = xywh_to_xyxy(*map(float, bbox))
        objects.append(RawBox(label, Box(name, *corners, occluded=occluded, crowd=crowd)))
    folder = filename.rpartition("/")[0]
    beside = (f"{subfolder}/{folder}".strip("/"), folder, subfolder)
    return RawAnnotation(
        source=path,
        filename=filename,
        objects=tuple(objects),
        beside=beside,
        size=(float(width), float(height)) if width and height else None,
        where=where,
        faults=tuple(faults),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
