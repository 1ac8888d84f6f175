"""The ground truth of one image, independent of the file format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORNERS = ("xmin", "ymin", "xmax", "ymax")  # in VOC, CSV and the records


@dataclass(frozen=True, slots=True)
class Box:
    """One object, in pixels as in PASCAL VOC files: xmin, ymin, xmax, ymax.

    The edges are stored as drawn: x from 0 (left edge of the image) to the image width, y likewise.
    VOC's own 2007 set counts pixels from 1 and includes the last one; LabelImg, CVAT and Roboflow
    write edges. The OD API's `create_pascal_tf_record.py` divides by width and height without
    correction. This package does the same, so a box drawn to the border normalizes to exactly 1.

    Attributes:
      difficult, truncated, occluded, pose: as in VOC.
      crowd: the box covers many objects that were not annotated individually; COCO's `iscrowd`.
    """

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False
    truncated: bool = False
    occluded: bool = False
    crowd: bool = False
    pose: str = "Unspecified"

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax in pixels."""
        return self.xmin, self.ymin, self.xmax, self.ymax


@dataclass(frozen=True, slots=True)
class Repair:
    """A fault that `tfod convert --fix` repaired.

    Attributes:
      path: the annotation file or the image.
      kind: what was done, such as "box dropped"; `checks.REPAIRS` describes each.
      what: the fault and its repair, in words by which a user finds the box.
    """

    path: Path
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """The objects of one image. `objects` is empty for a negative image.

    Attributes:
      source: the file the annotation was read from.
      image: the image file.
      width, height: size in pixels of the image on which the boxes were drawn.
      objects: the boxes, in file order.
      source_id: the image path relative to the image folder, with slashes.
      rotate: the boxes were drawn on the upright image, but the stored pixels are not upright.
        Apply the EXIF orientation before using the pixels with the boxes.
      digest: SHA-256 of the image file; empty if the file was not read.
      file_size, training_format: see `images.Header`.
      without_end: the end of the image file is missing, see `images.check_image_without_end`.
      group: images of the same group belong in the same split, such as the frames of a video;
        empty if the image is in no group.
      fixes: what was fixed or left open while reading, one entry per case, such as "box clipped";
        `checks.remarks` describes each.
      repairs: the faults that were repaired.
      window: the tile of the image that this describes: xmin, ymin, xmax, ymax in pixels of the
        image, while `width`, `height` and `objects` are those of the tile. None for all of it.
    """

    source: Path
    image: Path
    width: int
    height: int
    objects: tuple[Box, ...]
    source_id: str = ""
    rotate: bool = False
    digest: bytes = b""
    file_size: int = 0
    training_format: bytes | None = None
    without_end: bool = False
    group: str = ""
    fixes: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    window: tuple[int, int, int, int] | None = None
