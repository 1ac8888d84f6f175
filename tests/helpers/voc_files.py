"""VOC annotations and images to write into a test's folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

OBJECT = """<object><name>{name}</name>{more}<bndbox>
<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax>
</bndbox></object>"""


def write_image(path: Path, size=(40, 30), colour=(200, 30, 60), mode="RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path, **options)
    return path


def voc_object(name="stop", box=(1, 2, 11, 12), more="") -> str:
    return OBJECT.format(name=name, box=box, more=more)


def write_xml(path: Path, *objects: str, filename: str | None = None, size=(40, 30)) -> Path:
    """A VOC file; `size` None leaves the element out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sized = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    name = path.with_suffix(".jpg").name if filename is None else filename
    path.write_text(
        f"<annotation><filename>{name}</filename>{sized}{''.join(objects)}</annotation>",
        encoding="utf-8",
    )
    return path
