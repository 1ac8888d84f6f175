"""Writes PASCAL VOC annotations and images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

OBJECT = """<object><name>{name}</name>{tags}<bndbox>
<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax>
</bndbox></object>"""
# The "billion laughs" attack: nested entities, of which `&l11;` expands to gigabytes.
LAUGHS = '<!ENTITY l0 "ha">'
LAUGHS += "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


def write_image(path: Path, size=(40, 30), color=(200, 30, 60), mode="RGB", **options) -> Path:
    """Writes an image of one color.

    Args:
      size: (width, height) in pixels.
      options: of `PIL.Image.Image.save`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).convert(mode).save(path, **options)
    return path


def voc_object(name="stop", box=(1, 2, 11, 12), tags="") -> str:
    """Returns an `object` element.

    Args:
      box: xmin, ymin, xmax, ymax; invalid values are written too.
      tags: XML of more child elements.
    """
    return OBJECT.format(name=name, box=box, tags=tags)


def write_xml(path: Path, *objects: str, filename: str | None = None, size=(40, 30)) -> Path:
    """Writes a VOC file.

    Args:
      filename: None for the name of the XML file with `.jpg`.
      size: (width, height); None omits the element.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    size_tag = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    name = path.with_suffix(".jpg").name if filename is None else filename
    path.write_text(
        f"<annotation><filename>{name}</filename>{size_tag}{''.join(objects)}</annotation>",
        encoding="utf-8",
    )
    return path
