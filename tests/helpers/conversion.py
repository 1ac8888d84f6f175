"""The conversion of a test's VOC folder, and what it wrote."""

from __future__ import annotations

from pathlib import Path

from tfod.conversion import convert


def run(voc: Path, output: str = "data", **options):
    return convert(voc / "annotations", voc / "images", voc.parent / output, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
