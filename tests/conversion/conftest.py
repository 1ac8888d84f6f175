"""Fixtures of the conversion tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.voc_files import voc_object, write_image, write_xml


@pytest.fixture
def voc(tmp_path) -> Path:
    """A VOC folder of 30 images: 20 with a stop sign, 5 with a tram, 5 without objects."""
    for number in range(30):
        objects = [voc_object("stop")] * (number < 20) + [voc_object("tram")] * (number >= 25)
        suffix = "png" if number % 3 else "jpg"
        write_image(tmp_path / f"voc/images/{number}.{suffix}", color=(number, 99, 0))
        write_xml(tmp_path / f"voc/annotations/{number}.xml", *objects)
    return tmp_path / "voc"
