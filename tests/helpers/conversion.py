"""Converts the VOC folder of a test, and reads the output."""

from __future__ import annotations

from pathlib import Path

from tfod.conversion import convert
from tfod.dataset.manifest import Dataset


def run(voc: Path, output: str = "data", **options) -> Dataset:
    """Converts `voc`/annotations and `voc`/images into a folder beside `voc`."""
    return convert(voc / "annotations", voc / "images", voc.parent / output, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the content of each file by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
