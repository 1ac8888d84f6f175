"""Makes annotations without files."""

from __future__ import annotations

from pathlib import Path

from tfod.annotation import Annotation, Box


def annotation(name: str, *classes: str) -> Annotation:
    """Returns an annotation of a 10 x 10 image with one box per class."""
    boxes = tuple(Box(label, 0, 0, 5, 5) for label in classes)
    return Annotation(Path(f"{name}.xml"), Path(f"{name}.jpg"), 10, 10, boxes)
