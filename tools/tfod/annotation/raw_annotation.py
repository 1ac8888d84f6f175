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
from tfod.annotation import Annotation, Box, Repair
from tfod.annotation.box_check import BoxFault, check_box
from tfod.errors import BadFilesError, FileFault, quoted
from tfod.image_files import ImageFolder

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
    fix: bool = False,
) -> Annotation:
    """Finds the image, and checks that the size and the boxes fit it.

    Boxes keep the pixel coordinates of the file, as floats. A box that crosses the edge by at most
    one pixel is clipped; of equal boxes the first is kept. If the image has an EXIF orientation,
    the size in the file determines on which image the boxes were drawn: on the stored pixels if it
    equals only their size, otherwise on the upright image (`Annotation.rotate`).

    Class names are composed (Unicode form NFC), because macOS may write "é" as two characters.

    With `fix`, faults are repaired where no guess is needed (`Annotation.repairs`): boxes that
    extend outside the image are clipped, boxes without area or completely outside are dropped, and
    swapped corners are swapped back. An image that would lose all its boxes keeps its faults: it
    shows an object, or a box was drawn by mistake, and only the user knows which. An image whose
    end is missing is used if it lacks at most `images.MAX_MISSING` of its pixels.

    Args:
      folder: the images to search.
      classes: allowed class names; None allows all.
      decode: decodes the complete image; False does not decode the pixels.
      exif: decides where the size does not: it is missing, or the same before and after the
        rotation. None for "apply", with the fix "orientation unclear".
      fix: repairs faults. Without it, those that it could repair are `fixable`.

    Raises:
      BadFilesError: all faults, including those of `raw`, each a `FileFault` of one of the kinds
        "image missing", "image ambiguous", "image unreadable", "size differs", "box outside",
        "box without area", "unknown class".
    """
    faults = list(raw.faults)

    def report(kind: str, what: str, remedy: str, fixable: bool = False) -> None:
        what = f"{raw.message_prefix}{what}"
        faults.append(FileFault(raw.source, kind, what, remedy, fixable))

    source_id, header, missing, size, rotate = "", None, None, None, False
    fixes = list(raw.fixes)
    repairs: list[Repair] = []
    try:
        source_id = folder.find(raw.source, raw.filename, raw.other_stem, raw.subfolder)
        header, missing = _check_image(folder.root / source_id, decode, fix)
    except FileFault as fault:
        faults.append(fault)
    else:
        if missing is not None:
            what = f"its end is missing ({missing:.1%} of its pixels); re-encoded"
            repairs.append(Repair(folder.root / source_id, "image re-encoded", what))
        if _other_image_fits(raw, folder, source_id):
            fixes.append("name differs")
        if exif is None and _is_orientation_unclear(raw.size, header):
            fixes.append("orientation unclear")
        size, rotate = annotated_size(raw.size, header, exif)
        if raw.size and raw.size != size:
            report(
                "size differs",
                f"the annotated size is {raw.size[0]:g} x {raw.size[1]:g}, but the image is "
                f"{size[0]} x {size[1]}",
                "Annotate the current image, or restore the image that was annotated",
            )
    boxes, box_faults, box_fixes = _check_boxes(raw, size)
    for box_fault in box_faults:
        if fix and boxes:
            what = f"{raw.message_prefix}{box_fault.what}; {box_fault.done}"
            repairs.append(Repair(raw.source, box_fault.repair, what))
        else:
            remedy = _box_remedy(box_fault, bool(boxes), fix)
            report(box_fault.kind, box_fault.what, remedy, bool(boxes))
    if classes is not None:
        _check_classes(raw, classes, report)
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
        without_end=missing is not None,
        group=raw.group,
        fixes=(*fixes, *box_fixes),
        repairs=tuple(repairs),
    )


def _check_image(path: Path, decode: bool, fix: bool) -> tuple[images.Header, float | None]:
    """Checks an image; with `fix`, its end may be missing.

    Returns:
      The header, and the fraction of the pixels that are missing; None if the file is complete.
    """
    try:
        header = images.check_image(path, decode)
        if fix and not decode and header.training_format is None:
            # It is decoded for its record. Its end may be missing, which must be known before.
            header = images.check_image(path)
        return header, None
    except FileFault as error:
        fault = error
    try:
        header, missing = images.check_image_without_end(path)
    except FileFault:
        raise fault from None
    fixable = missing <= images.MAX_MISSING
    if fix and fixable:
        return header, missing
    remedy = fault.remedy
    if fixable:
        remedy += ", or re-encode it with --fix"
    elif fix:
        remedy = f"Get the complete file; --fix needs {1 - images.MAX_MISSING:.0%} of its pixels"
    raise FileFault(path, fault.kind, fault.what, remedy, fixable)


def _check_boxes(
    raw: RawAnnotation, size: tuple[int, int] | None
) -> tuple[tuple[Box, ...], list[BoxFault], list[str]]:
    """Returns the boxes that `check_box` returns without duplicates, the faults and the fixes."""
    boxes: dict[Box, None] = {}
    faults: list[BoxFault] = []
    fixes: list[str] = []
    options = {"normalized": raw.normalized, "beyond_edge": raw.beyond_edge}
    for raw_box in raw.objects:
        composed = _composed(raw_box.box)
        label = f"{raw_box.label} {quoted(composed.name)}"
        box, box_faults, box_fixes = check_box(composed, label, size, **options)
        faults += box_faults
        fixes += box_fixes
        if box is not None:
            fixes += ["box repeated"] * (box in boxes)
            boxes[box] = None
    return tuple(boxes), faults, fixes


def _check_classes(raw: RawAnnotation, classes: Collection[str], report: Report) -> None:
    for raw_box in raw.objects:
        name = _composed(raw_box.box).name
        if name not in classes:
            what = f"class {quoted(name)} of {raw_box.label} is not in the label map"
            report("unknown class", what, "Correct the name, or add it to the label map")


def _box_remedy(fault: BoxFault, others_left: bool, fix: bool) -> str:
    if others_left:
        return f"Draw it again, or {fault.offer} with --fix"
    remedy = "Draw it again, or remove it"
    return f"{remedy}; --fix does not drop all boxes of an image" if fix else remedy


def _composed(box: Box) -> Box:
    """Returns the box with its class name in Unicode form NFC."""
    if box.name.isascii():
        return box
    return dataclasses.replace(box, name=unicodedata.normalize("NFC", box.name))


def _other_image_fits(raw: RawAnnotation, folder: ImageFolder, source_id: str) -> bool:
    """Returns whether `other_stem` is the name of another image than the one that was found."""
    if raw.filename and raw.other_stem and raw.filename.rpartition(".")[0] != raw.other_stem:
        with suppress(FileFault):
            other = folder.find(raw.source, "", raw.other_stem, raw.subfolder)
            return other != source_id
    return False


def annotated_size(
    size_in_file: tuple[float, float] | None, header: images.Header, exif: Exif | None
) -> tuple[tuple[int, int], bool]:
    """Returns (width, height) of the annotated image, and whether the pixels must be rotated.

    Args:
      size_in_file: (width, height) in the annotation file; None if it is not written.
      exif: see `check_annotation`.
    """
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
