"""What an annotation file says of one picture, and the checks that make it an `Annotation`.

Each format has a module that reads it (`voc`, `coco`, `yolo`, `csv_table`) into `RawAnnotation`;
the checks here are the same for all of them. A file comes from anywhere and is believed nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tfod import images
from tfod.annotation import Annotation, Box
from tfod.boxes import clip_xyxy, normalized_to_pixel_xyxy
from tfod.errors import BadFilesError, FileFault, quoted
from tfod.image_files import ImageFolder

CORNERS = ("xmin", "ymin", "xmax", "ymax")
EDGE_SLACK = 1.0  # pixels: VOC's own files count from 1, so their boxes may end one past the edge
ROUNDING = 0.01  # pixels: what a share of the picture's size with six decimals may be off


@dataclass(frozen=True)
class RawBox:
    """One object as a file gives it: corners xmin, ymin, xmax, ymax, in any order, anywhere.

    Attributes:
      label: what messages call it, such as "object 2" or "line 7".
      box: the object; its corners are finite numbers.
    """

    label: str
    box: Box


@dataclass(frozen=True)
class RawAnnotation:
    """What a file says of one picture, not yet held against the picture.

    Attributes:
      source: the file.
      filename: the picture as the file names it, perhaps with folders that are not here.
      objects: the boxes that could be read.
      other_stem: a name without suffix to look for the picture by where there is no `filename`.
      beside: folders below the folder of pictures where it lies most likely, best first.
      size: (width, height) in pixels as the file says; None where it does not.
      normalized: corners are shares of width and height, not pixels.
      where: begins messages where `source` speaks of many pictures, such as "'a.jpg': ".
      faults: what could not be read.
    """

    source: Path
    filename: str
    objects: tuple[RawBox, ...]
    other_stem: str = ""
    beside: tuple[str, ...] = ("",)
    size: tuple[float, float] | None = None
    normalized: bool = False
    where: str = ""
    faults: tuple[FileFault, ...] = ()


def check_annotation(
    raw: RawAnnotation,
    pictures: ImageFolder,
    classes: Collection[str] | None = None,
    decode: bool = True,
) -> Annotation:
    """Finds the picture, and holds size and boxes against it.

    Boxes stay in the pixels of the file, as floats; one that reaches over the edge by at most a
    pixel is clipped, and of equal ones the first is kept. Where a picture carries an EXIF
    orientation, and the size in the file is that of its stored pixels and not that of the picture
    turned upright, the boxes were drawn on the stored pixels; else (`Annotation.rotate`) on the
    upright picture.

    Args:
      classes: names that may occur; None for any.
      decode: decodes the whole picture; else only its header is read.

    Raises:
      BadFilesError: all faults found, those of `raw` too, each a `FileFault` of one of the kinds
        "image missing", "image ambiguous", "image unreadable", "size differs", "box outside",
        "box without area", "unknown class".
    """
    faults = list(raw.faults)

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(raw.source, kind, f"{raw.where}{what}", remedy))

    found = header = size = rotate = None
    try:
        found = pictures.find(raw.source, raw.filename, raw.other_stem, raw.beside)
        header = images.check_image(pictures.root / found, decode)
    except FileFault as fault:
        faults.append(fault)
    else:
        size, rotate = _drawn_on(raw.size, header)
        if raw.size and raw.size != size:
            report(
                "size differs",
                f"its size is said to be {raw.size[0]:g} x {raw.size[1]:g}, the picture's is "
                f"{size[0]} x {size[1]}",
                "Annotate the picture as it is now, or put back the one that was annotated",
            )
    boxes: dict[Box, None] = {}
    mended: list[str] = []
    for drawn in raw.objects:
        label, box = f"{drawn.label} {quoted(drawn.box.name)}", drawn.box
        if classes is not None and box.name not in classes:
            what = f"class {quoted(box.name)} of {drawn.label} is not in the label map"
            report("unknown class", what, "Correct the name, or add it to the label map")
        if box.xmin >= box.xmax or box.ymin >= box.ymax:
            what = f"{label} spans {box.xmin:g} to {box.xmax:g} across and "
            what += f"{box.ymin:g} to {box.ymax:g} down"
            report("box without area", what, "Draw it again, or remove it")
        elif size:
            if raw.normalized:
                box = _with_corners(box, normalized_to_pixel_xyxy(*box.corners, *size))
            over = max(-box.xmin, -box.ymin, box.xmax - size[0], box.ymax - size[1])
            if over > EDGE_SLACK:
                what = f"{label} at {_text(box)} leaves the picture of {size[0]} x {size[1]}"
                report("box outside", what, "Draw it again, or remove it")
            if over > 0:
                mended += ["box clipped"] * (over > ROUNDING)
                kept = _with_corners(box, clip_xyxy(*box.corners, *size))
                if over <= EDGE_SLACK and (kept.xmin >= kept.xmax or kept.ymin >= kept.ymax):
                    what = f"{label} at {_text(box)} lies on the edge of the picture of "
                    what += f"{size[0]} x {size[1]}"
                    report("box without area", what, "Draw it again, or remove it")
                box = kept
            mended += ["box repeated"] * (box in boxes)
            boxes[box] = None
    if faults:
        raise BadFilesError(raw.source, faults)
    return Annotation(
        source=raw.source,
        image=pictures.root / found,
        width=size[0],
        height=size[1],
        objects=tuple(boxes),
        source_id=found,
        rotate=rotate,
        digest=header.digest,
        file_size=header.file_size,
        training_format=header.training_format,
        mended=tuple(mended),
    )


def _drawn_on(
    said: tuple[float, float] | None, header: images.Header
) -> tuple[tuple[int, int], bool]:
    """Size of the picture that boxes were drawn on, and whether it is the one turned upright."""
    if said == header.stored != header.upright:
        return header.stored, False
    return header.upright, header.orientation != 1


def _with_corners(box: Box, corners: tuple[float, float, float, float]) -> Box:
    """The same object with other corners: xmin, ymin, xmax, ymax."""
    return dataclasses.replace(box, **dict(zip(CORNERS, corners, strict=True)))


def _text(box: Box) -> str:
    return ", ".join(f"{edge:g}" for edge in box.corners)


def number(text: str) -> float | None:
    """A finite number as files write it, or None. Unlike `float`, no "1_000" and no "nan"."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
