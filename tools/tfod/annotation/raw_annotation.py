"""The unchecked content of an annotation file for one image, and the checks common to all formats.

Each format's module (`voc`, `coco`, `yolo`, `csv_table`) reads into `RawAnnotation`;
`check_annotation` turns it into an `Annotation`. Input files are untrusted: every value is checked.
"""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfod import images
from tfod.annotation import Annotation, Box
from tfod.boxes import clip_xyxy, normalized_to_pixel_xyxy
from tfod.errors import BadFilesError, FileFault, quoted
from tfod.image_files import ImageFolder

EDGE_SLACK = 1.0  # pixels: VOC's own files count from 1, so their boxes may end one past the edge
ROUNDING = 0.01  # pixels: error of normalized coordinates with six decimals

Report = Callable[[str, str, str], None]  # kind, what, remedy
# Whether boxes were drawn on the image that its EXIF orientation rotates, or on the stored pixels.
Exif = Literal["apply", "ignore"]


@dataclass(frozen=True)
class RawBox:
    """One object as written in a file. Its corners may be swapped or outside the image.

    Attributes:
      label: its name in messages, such as "object 2" or "line 7".
      box: the object; its corners are finite numbers.
    """

    label: str
    box: Box


@dataclass(frozen=True)
class RawAnnotation:
    """The content of a file for one image, not yet compared with the image.

    Attributes:
      source: the file.
      filename: the image name in the file, possibly with folders that do not exist here.
      objects: the boxes that could be read.
      other_stem: if there is no image `filename`, the image is searched by this name without
        suffix.
      subfolder: the folder of `source`, relative to all annotations. It helps to find the image.
      size: (width, height) in pixels as written in the file; None if it is not written.
      normalized: corners are fractions of width and height, not pixels.
      beyond_edge: boxes may extend beyond the image, because the hidden part of an object counts.
        They are cut at the edge of the image.
      group, fixes: see `Annotation`.
      message_prefix: names the image if `source` describes many, such as "'a.jpg': ".
      faults: what could not be read.
    """

    source: Path
    filename: str
    objects: tuple[RawBox, ...]
    other_stem: str = ""
    subfolder: str = ""
    size: tuple[float, float] | None = None
    normalized: bool = False
    beyond_edge: bool = False
    group: str = ""
    fixes: tuple[str, ...] = ()
    message_prefix: str = ""
    faults: tuple[FileFault, ...] = ()


def check_annotation(
    raw: RawAnnotation,
    folder: ImageFolder,
    classes: Collection[str] | None = None,
    decode: bool = True,
    exif: Exif | None = None,
) -> Annotation:
    """Finds the image, and checks that the size and the boxes fit it.

    Boxes keep the pixel coordinates of the file, as floats. A box that crosses the edge by at most
    one pixel is clipped; of equal boxes the first is kept. If the image has an EXIF orientation,
    the size in the file determines on which image the boxes were drawn: on the stored pixels if it
    equals only their size, otherwise on the upright image (`Annotation.rotate`).

    Class names are composed (Unicode form NFC), because macOS may write "é" as two characters.

    Args:
      folder: the images to search.
      classes: allowed class names; None allows all.
      decode: decodes the complete image; False does not decode the pixels.
      exif: decides where the size does not: it is missing, or the same before and after the
        rotation. None for "apply", with the fix "orientation unclear".

    Raises:
      BadFilesError: all faults, including those of `raw`, each a `FileFault` of one of the kinds
        "image missing", "image ambiguous", "image unreadable", "size differs", "box outside",
        "box without area", "unknown class".
    """
    faults = list(raw.faults)

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(raw.source, kind, f"{raw.message_prefix}{what}", remedy))

    source_id, header, size, rotate = "", None, None, False
    fixes = list(raw.fixes)
    try:
        source_id = folder.find(raw.source, raw.filename, raw.other_stem, raw.subfolder)
        header = images.check_image(folder.root / source_id, decode)
    except FileFault as fault:
        faults.append(fault)
    else:
        if _other_image_fits(raw, folder, source_id):
            fixes.append("name differs")
        if exif is None and _is_orientation_unclear(raw.size, header):
            fixes.append("orientation unclear")
        size, rotate = _annotated_size(raw.size, header, exif)
        if raw.size and raw.size != size:
            report(
                "size differs",
                f"the annotated size is {raw.size[0]:g} x {raw.size[1]:g}, but the image is "
                f"{size[0]} x {size[1]}",
                "Annotate the current image, or restore the image that was annotated",
            )
    boxes, box_fixes = _check_boxes(raw, size, classes, report)
    if faults or header is None or size is None:
        raise BadFilesError(raw.source, faults)
    return Annotation(
        source=raw.source,
        image=folder.root / source_id,
        width=size[0],
        height=size[1],
        objects=boxes,
        source_id=source_id,
        rotate=rotate,
        digest=header.digest,
        file_size=header.file_size,
        training_format=header.training_format,
        group=raw.group,
        fixes=(*fixes, *box_fixes),
    )


def _check_boxes(
    raw: RawAnnotation,
    size: tuple[int, int] | None,
    classes: Collection[str] | None,
    report: Report,
) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """Returns the boxes in pixels, clipped and without duplicates, and the fixes.

    Args:
      size: (width, height) of the image. If None, the checks that depend on it are skipped.
    """
    boxes: dict[Box, None] = {}
    fixes: list[str] = []
    for raw_box in raw.objects:
        box = raw_box.box
        if not box.name.isascii():
            box = dataclasses.replace(box, name=unicodedata.normalize("NFC", box.name))
        label = f"{raw_box.label} {quoted(box.name)}"
        if classes is not None and box.name not in classes:
            what = f"class {quoted(box.name)} of {raw_box.label} is not in the label map"
            report("unknown class", what, "Correct the name, or add it to the label map")
        if box.xmin >= box.xmax or box.ymin >= box.ymax:
            what = f"{label} extends from x {box.xmin:g} to {box.xmax:g} and "
            what += f"from y {box.ymin:g} to {box.ymax:g}"
            report("box without area", what, "Draw it again, or remove it")
        elif size:
            if raw.normalized:
                box = _with_corners(box, normalized_to_pixel_xyxy(*box.corners, *size))
            excess = max(-box.xmin, -box.ymin, box.xmax - size[0], box.ymax - size[1])
            if excess > EDGE_SLACK and raw.beyond_edge:
                fixes.append("box cut")
                box = _with_corners(box, clip_xyxy(*box.corners, *size))
                if box.xmin >= box.xmax or box.ymin >= box.ymax:
                    continue
                excess = 0
            if excess > EDGE_SLACK:
                what = f"{label} at {_text(box)} extends outside the image of {size[0]} x {size[1]}"
                report("box outside", what, "Draw it again, or remove it")
            if excess > 0:
                fixes += ["box clipped"] * (excess > ROUNDING)
                clipped = _with_corners(box, clip_xyxy(*box.corners, *size))
                has_area = clipped.xmin < clipped.xmax and clipped.ymin < clipped.ymax
                if excess <= EDGE_SLACK and not has_area:
                    what = f"{label} at {_text(box)} is beyond the edge of the image of "
                    what += f"{size[0]} x {size[1]}"
                    report("box without area", what, "Draw it again, or remove it")
                box = clipped
            fixes += ["box repeated"] * (box in boxes)
            boxes[box] = None
    return tuple(boxes), tuple(fixes)


def _other_image_fits(raw: RawAnnotation, folder: ImageFolder, source_id: str) -> bool:
    """Returns whether `other_stem` is the name of another image than the one that was found."""
    if raw.filename and raw.other_stem and raw.filename.rpartition(".")[0] != raw.other_stem:
        with suppress(FileFault):
            other = folder.find(raw.source, "", raw.other_stem, raw.subfolder)
            return other != source_id
    return False


def _annotated_size(
    size_in_file: tuple[float, float] | None, header: images.Header, exif: Exif | None
) -> tuple[tuple[int, int], bool]:
    """Returns (width, height) of the annotated image, and whether the pixels must be rotated."""
    if _is_orientation_unclear(size_in_file, header):
        drawn_on_stored = exif == "ignore"
    else:
        drawn_on_stored = size_in_file == header.stored
    if drawn_on_stored:
        return header.stored, False
    return header.upright, header.orientation != 1


def _is_orientation_unclear(
    size_in_file: tuple[float, float] | None, header: images.Header
) -> bool:
    """Returns whether the size does not tell if boxes were drawn on the rotated image."""
    return header.orientation != 1 and (size_in_file is None or header.stored == header.upright)


def _with_corners(box: Box, corners: tuple[float, float, float, float]) -> Box:
    """Returns the box with other corners: xmin, ymin, xmax, ymax."""
    xmin, ymin, xmax, ymax = corners
    return dataclasses.replace(box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def _text(box: Box) -> str:
    return ", ".join(f"{edge:g}" for edge in box.corners)


def subfolder_of(path: Path, root: Path | None) -> str:
    """Returns `RawAnnotation.subfolder` of an annotation file; `root` contains all annotations."""
    if root is None or path.parent == root:
        return ""
    return path.parent.relative_to(root).as_posix()


def number(text: str) -> float | None:
    """Parses a finite number; None if it is not one. Unlike `float`, rejects "1_000" and "nan"."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
