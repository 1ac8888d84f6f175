"""Checks one box of an annotation file, and determines how `tfod convert --fix` repairs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tfod.annotation import Box
from tfod.boxes import clip_xyxy, normalized_to_pixel_xyxy

EDGE_SLACK = 1.0  # pixels: VOC's own files count from 1, so their boxes may end one past the edge
ROUNDING = 0.01  # pixels: error of normalized coordinates with six decimals


@dataclass(frozen=True)
class BoxFault:
    """A fault of a box, and the only repair that needs no guess.

    Attributes:
      kind: of the fault, see `FileFault`.
      what: the fault.
      repair: see `Repair.kind`.
      done: what the repair does, after the fact.
      offer: what the repair does, as a remedy.
    """

    kind: str
    what: str
    repair: str
    done: str
    offer: str


def check_box(
    box: Box,
    label: str,
    size: tuple[int, int] | None,
    *,
    normalized: bool = False,
    beyond_edge: bool = False,
) -> tuple[Box | None, Sequence[BoxFault], Sequence[str]]:
    """Checks that a box has an area and is in its image.

    Args:
      label: its name in messages.
      size: (width, height) of the image in pixels. If None, the box is not compared with it.
      normalized, beyond_edge: see `RawAnnotation`.

    Returns:
      The box in pixels after all repairs, or None if it is dropped; the faults that were repaired;
      and the changes that are no repairs of faults, see `Annotation.fixes`.
    """
    faults: list[BoxFault] = []
    if not _has_area(box):
        box, swap = _with_sorted_corners(box, label)
        faults.append(swap)
        if swap.repair == "box dropped":
            return None, faults, ()
    if size is None:
        return box, faults, ()
    if normalized:
        box = _with_corners(box, normalized_to_pixel_xyxy(*box.corners, *size))
    fitted, fault, fixes = _fit(box, label, size, beyond_edge)
    if fault and fitted is None:
        return None, [fault], ()
    return fitted, [*faults, fault] if fault else faults, fixes


def _fit(
    box: Box, label: str, size: tuple[int, int], beyond_edge: bool
) -> tuple[Box | None, BoxFault | None, Sequence[str]]:
    """Clips a box to its image; the result is as in `check_box`."""
    excess = max(-box.xmin, -box.ymin, box.xmax - size[0], box.ymax - size[1])
    if excess <= 0:
        return box, None, ()
    clipped = _with_corners(box, clip_xyxy(*box.corners, *size))
    if beyond_edge and excess > EDGE_SLACK:
        return clipped if _has_area(clipped) else None, None, ["box cut"]
    if excess <= EDGE_SLACK and _has_area(clipped):
        return clipped, None, ["box clipped"] * (excess > ROUNDING)
    kind, place = "box outside", "extends outside"
    if excess <= EDGE_SLACK:
        kind, place = "box without area", "is beyond the edge of"
    what = f"{label} at {_text(box)} {place} the image of {size[0]} x {size[1]}"
    if not _has_area(clipped):
        return None, _dropped(kind, what), ()
    done = f"clipped to {_text(clipped)}"
    return clipped, BoxFault(kind, what, "box outside", done, "clip it"), ()


def _with_sorted_corners(box: Box, label: str) -> tuple[Box, BoxFault]:
    """Swaps the corners of a box with xmin > xmax or ymin > ymax."""
    what = f"{label} extends from x {box.xmin:g} to {box.xmax:g} and "
    what += f"from y {box.ymin:g} to {box.ymax:g}"
    xmin, xmax = sorted((box.xmin, box.xmax))
    ymin, ymax = sorted((box.ymin, box.ymax))
    box = _with_corners(box, (xmin, ymin, xmax, ymax))
    if not _has_area(box):
        return box, _dropped("box without area", what)
    done = f"corners swapped to {_text(box)}"
    return box, BoxFault("box without area", what, "corners swapped", done, "swap its corners")


def _dropped(kind: str, what: str) -> BoxFault:
    return BoxFault(kind, what, "box dropped", "dropped", "drop it")


def _has_area(box: Box) -> bool:
    return box.xmin < box.xmax and box.ymin < box.ymax


def _with_corners(box: Box, corners: tuple[float, float, float, float]) -> Box:
    """Returns the box with other corners: xmin, ymin, xmax, ymax."""
    xmin, ymin, xmax, ymax = corners
    return dataclasses.replace(box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def _text(box: Box) -> str:
    return ", ".join(f"{edge:g}" for edge in box.corners)
