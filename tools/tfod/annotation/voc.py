"""One PASCAL VOC XML file -> `RawAnnotation`.

A DTD is refused, so that no entity can be expanded or fetched; each number is read and limited.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number
from tfod.errors import BadFilesError, FileFault, quoted
from tfod.files import read_bytes

MAX_XML_BYTES = 4 << 20  # some 10,000 objects; a page of text is what a picture has
FLAGS = ("difficult", "truncated", "occluded")
CORNERS = ("xmin", "ymin", "xmax", "ymax")

Report = Callable[[str, str, str], None]  # kind, what, remedy


def read_xml(xml: Path, root: Path | None = None) -> RawAnnotation:
    """Reads one VOC file.

    The picture is named by `<filename>`, or the XML's own name; `<path>` and `<folder>` say where
    it lay on somebody else's disk and are not used.

    Args:
      root: the folder of annotations; its subfolder with this file is where the picture lies in
        the folder of pictures, if several have its name. None for the file's own folder.

    Raises:
      BadFilesError: it is no VOC file: "broken XML" or "not VOC". What is wrong with its values
        ("bad value", "bad coordinate", and "not VOC" too) is in the result, beside what is not.
    """
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(xml, kind, what, remedy))

    tree = _parse(xml, report)
    if tree is None:
        raise BadFilesError(xml, faults)
    objects = (
        _read_object(element, f"object {count}", report)
        for count, element in enumerate(tree.findall("object"), 1)
    )
    subfolder = xml.parent.relative_to(root).as_posix() if root and xml.parent != root else ""
    return RawAnnotation(
        source=xml,
        filename=(tree.findtext("filename") or "").strip(),
        objects=tuple(drawn for drawn in objects if drawn),
        other_stem=xml.stem,
        beside=(subfolder,),
        size=_read_size(tree, report),
        faults=tuple(faults),
    )


def _parse(xml: Path, report: Report) -> etree._Element | None:
    """The `annotation` element, or None with the fault reported."""
    try:
        if xml.stat().st_size > MAX_XML_BYTES:
            report("broken XML", f"larger than {MAX_XML_BYTES >> 20} MiB", "Give one VOC file")
            return None
        root = etree.fromstring(read_bytes(xml), _parser())
    except OSError as error:
        report("broken XML", f"cannot be read: {error.strerror}", "Check its permissions")
    except (etree.LxmlError, LookupError, ValueError) as error:
        reason = " ".join(str(getattr(error, "msg", None) or error).split())
        report("broken XML", f"no well-formed XML: {reason}", "Export the annotation again")
    else:
        if root.getroottree().docinfo.doctype:
            report("broken XML", "has a DOCTYPE, which may name other files", "Delete that line")
        elif root.tag != "annotation":
            what = f"its root is {quoted(root.tag)}, not 'annotation'"
            report("not VOC", what, "Export as PASCAL VOC, or move the file away")
        else:
            return root
    return None


@functools.cache
def _parser() -> etree.XMLParser:
    # Comments would split the text around them. Depth and text length keep libxml2's own limits.
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _texts(element: etree._Element | None) -> dict[str, str]:
    """Texts of the children by tag, spaces and line breaks in a row as one; of twins the first's.

    One pass: asking an element for one child after the other takes half the time of a conversion.
    """
    texts: dict[str, str] = {}
    for child in () if element is None else element:
        texts.setdefault(child.tag, " ".join((child.text or "").split()))
    return texts


def _read_size(tree: etree._Element, report: Report) -> tuple[float, float] | None:
    """(width, height), or None: some tools write no size, or 0."""
    texts = _texts(tree.find("size"))
    said: list[float] = []
    for tag in ("width", "height"):
        value = number(texts.get(tag) or "0")
        if value is None or value < 0:
            what = f"<{tag}> of its <size> is {quoted(texts[tag])}"
            report("bad value", what, "Write the picture's size")
            value = 0
        said.append(value)
    width, height = said
    return (width, height) if width and height else None


def _read_object(element: etree._Element, label: str, report: Report) -> RawBox | None:
    """One `object` element, or None where it has no box; its faults are reported."""
    texts = _texts(element)
    name = texts.get("name", "")
    if not name:
        report("not VOC", f"{label} has no <name>", "Name its class")
    called = f"{label} {quoted(name)}" if name else label
    flags = {}
    for tag in FLAGS:
        flags[tag] = _flag(texts.get(tag, ""))
        if flags[tag] is None:
            what = f"<{tag}> of {called} is {quoted(texts[tag])}"
            report("bad value", what, "Write 0 or 1")
    frame = element.find("bndbox")
    if frame is None:
        report("not VOC", f"{called} has no <bndbox>", "Draw it as an upright box, or remove it")
        return None
    edges = _texts(frame)
    corners = [number(edges.get(tag, "")) for tag in CORNERS]
    if None in corners:
        for tag, value in zip(CORNERS, corners, strict=True):
            if value is None:
                what = f"<{tag}> of {called} is {quoted(edges.get(tag, ''))}"
                report("bad coordinate", what, "Draw the box again")
        return None
    pose = texts.get("pose") or "Unspecified"
    return RawBox(label, Box(name, *corners, **flags, pose=pose)) if name else None


def _flag(text: str) -> bool | None:
    """0, 1, a share of 1 (how much is cut off), true, false; missing counts as no."""
    if text.lower() in ("", "0", "false", "no", "unspecified"):
        return False
    if text.lower() in ("1", "true", "yes"):
        return True
    value = number(text)
    return None if value is None or value < 0 else value > 0
