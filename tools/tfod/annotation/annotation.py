"""Ground truth of one picture, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Box:
    """One object, in pixels as PASCAL VOC files write it: xmin, ymin, xmax, ymax.

    The edges are kept as drawn: x from 0 (left edge of the picture) to its width, y likewise.
    VOC's own 2007 set counts pixels from 1 and includes the last one; LabelImg, CVAT and Roboflow
    write edges, and the OD API's `create_pascal_tf_record.py` divides by width and height as they
    stand. So do we, and a box drawn to the border normalizes to exactly 1.

    Attributes:
      difficult, truncated, occluded, pose: as VOC has them.
      crowd: the box holds many objects that nobody drew one by one; COCO's `iscrowd`.
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


@dataclass(frozen=True)
class Annotation:
    """The objects of one picture. `objects` is empty for a picture that shows none (a negative).

    Attributes:
      source: the file the annotation was read from.
      image: the picture.
      width, height: size in pixels of the picture as the boxes see it.
      objects: the boxes, in file order.
      source_id: the picture's path below the folder of pictures, with slashes.
      rotate: the boxes were drawn on the picture turned upright, and its stored pixels are not:
        turn them as the EXIF orientation says before the two are used together.
      digest: SHA-256 of the picture file; empty where it was not read.
      file_size, training_format: see `images.Header`.
      mended: what was put right on reading, once for each time: "box clipped", "box repeated".
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
    mended: tuple[str, ...] = ()
