"""Writes the objects of an image as PASCAL VOC XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from tfod.annotation import CORNERS, Box


def write_voc(path: Path, image: Path, size: tuple[int, int], boxes: Iterable[Box]) -> None:
    """Writes one file like LabelImg, but without the absolute path of the image.

    Args:
      path: the file to write.
      image: the image file.
      size: its width and height in pixels.
      boxes: the objects. Edges are rounded because LabelImg opens only integer pixels.
    """

    def add(parent: ET.Element, **fields: object) -> None:
        for tag, value in fields.items():
            ET.SubElement(parent, tag).text = str(value)

    root = ET.Element("annotation")
    add(root, folder=image.parent.name, filename=image.name)
    add(ET.SubElement(root, "size"), width=size[0], height=size[1], depth=3)
    add(root, segmented=0)
    for box in boxes:
        entry = ET.SubElement(root, "object")
        add(entry, name=box.name, pose=box.pose, truncated=int(box.truncated))
        add(entry, occluded=int(box.occluded), difficult=int(box.difficult))
        edges = {edge: round(getattr(box, edge)) for edge in CORNERS}
        add(ET.SubElement(entry, "bndbox"), **edges)
    ET.indent(root, "    ")
    path.write_bytes(ET.tostring(root, encoding="utf-8") + b"\n")
