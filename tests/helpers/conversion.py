"""Converts the VOC folder of a test, and reads the output."""

from __future__ import annotations

from pathlib import Path

from tfod.conversion import convert
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records


def run(voc: Path, output: str = "data", **options) -> Dataset:
    """Converts `voc`/annotations and `voc`/images into a folder beside `voc`."""
    return convert(voc / "annotations", voc / "images", voc.parent / output, **options)


def split_of(data: Dataset) -> dict[str, str]:
    """Returns the split of each image by its `source_id`."""
    return {
        record.annotation.source_id: name
        for name, split in data.splits.items()
        for record in read_records(split.shards)
    }
