"""Reads PASCAL VOC XML: one file per image.

Files with a DTD are refused, so that no entity is expanded or fetched. File size and nesting depth
are limited, and numbers must be finite.
"""

from __future__ import annotations

import functools
from pathlib import Path

from lxml import etree

from tfod.annotation import CORNERS, Box
from tfod.annotation.raw_annotation import (
    RawAnnotation,
    RawBox,
    Report,
    number,
    subfolder_of,
)
from tfod.errors import BadFilesError, FileFault, quoted
from tfod.files import read_bytes

MAX_XML_BYTES = 4 << 20  # about 10,000 objects; typical files have a few KB
# Children of the root, and tags that show that another one contains objects.
KNOWN_TAGS = frozenset({"folder", "filename", "path", "source", "owner", "size", "segmented"})
BOX_TAGS = frozenset({"object", "bndbox", "bbox", "box", "robndbox", "polygon", "xmin", "xmax"})


def read_xml(xml: Path, root: Path | None = None) -> RawAnnotation:
    """Reads one VOC file.

    The image name comes from `<filename>`, or from the name of the XML file. `<path>` and
    `<folder>` describe the annotator's disk and are ignored.

    Args:
      root: the folder of all annotations; None for the folder of the XML file.

    Raises:
      BadFilesError: the file is not a VOC file: "broken XML" or "not VOC". Faults of single values
        ("bad value", "bad coordinate", also "not VOC") are in the result's `faults`; the rest of
        the file is still read.
    """
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(xml, kind, what, remedy))

    tree = _parse(xml, report)
    if tree is None:
        raise BadFilesError(xml, faults)
    boxes = (
        _read_object(element, f"object {count}", report)
        for count, element in enumerate(_find_objects(tree, report), 1)
    )
    return RawAnnotation(
        source=xml,
        filename=(tree.findtext("filename") or "").strip(),
        objects=tuple(box for box in boxes if box),
        other_stem=xml.stem,
        subfolder=subfolder_of(xml, root),
        size=_read_size(tree, report),
        faults=tuple(faults),
    )


def _parse(xml: Path, report: Report) -> etree._Element | None:
    """Returns the `annotation` element; reports the fault and returns None if it fails."""
    try:
        if xml.stat().st_size > MAX_XML_BYTES:
            what = f"is larger than {MAX_XML_BYTES >> 20} MiB"
            report("broken XML", what, "Check that it is a VOC file")
            return None
        root = etree.fromstring(read_bytes(xml), _parser())
    except OSError as error:
        report("broken XML", f"cannot be read: {error.strerror}", "Check its permissions")
    except (etree.LxmlError, LookupError, ValueError) as error:
        reason = " ".join(str(getattr(error, "msg", None) or error).split())
        report("broken XML", f"is not well-formed XML: {reason}", "Export the annotation again")
    else:
        if root.getroottree().docinfo.doctype:
            report(
                "broken XML", "has a DOCTYPE, which may refer to other files", "Delete that line"
            )
        elif root.tag != "annotation":
            what = f"its root is {quoted(root.tag)}, not 'annotation'"
            report("not VOC", what, "Export as PASCAL VOC, or move the file away")
        else:
            return root
    return None


@functools.cache
def _parser() -> etree.XMLParser:
    # Comments would split the text around them. libxml2's own limits of depth and text length stay.
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _find_objects(tree: etree._Element, report: Report) -> list[etree._Element]:
    """Returns the `object` elements; reports objects that are in other elements."""
    objects = []
    for child in tree:
        if child.tag == "object":
            objects.append(child)
        elif child.tag not in KNOWN_TAGS and any(
            etree.QName(element).localname.lower() in BOX_TAGS for element in child.iter()
        ):
            what = f"has objects in the element {quoted(etree.QName(child).localname)}"
            report("not VOC", what, "Write each as <object> directly in <annotation>")
    return objects


def _texts(element: etree._Element | None) -> dict[str, str]:
    """Returns the children's texts by tag, with whitespace collapsed; the first of equal tags.

    Reads all children in one pass: one `find` per child would take half the time of a conversion.
    """
    texts: dict[str, str] = {}
    for child in () if element is None else element:
        texts.setdefault(child.tag, " ".join((child.text or "").split()))
    return texts


def _read_size(tree: etree._Element, report: Report) -> tuple[float, float] | None:
    """Returns (width, height); None if the file has no size or 0, as some tools write it."""
    texts = _texts(tree.find("size"))
    sides: list[float] = []
    for tag in ("width", "height"):
        value = number(texts.get(tag) or "0")
        if value is None or value < 0:
            what = f"<{tag}> of its <size> is {quoted(texts[tag])}"
            report("bad value", what, "Write the size of the image")
            value = 0
        sides.append(value)
    width, height = sides
    return (width, height) if width and height else None


def _read_object(element: etree._Element, label: str, report: Report) -> RawBox | None:
    """Reads an `object` element; reports its faults and returns None if it has no name or box."""
    texts = _texts(element)
    name = texts.get("name", "")
    if not name:
        report("not VOC", f"{label} has no <name>", "Write its class")
    title = f"{label} {quoted(name)}" if name else label

    def flag(tag: str) -> bool:
        text = texts.get(tag, "")
        value = parse_flag(text)
        if value is None:
            report("bad value", f"<{tag}> of {title} is {quoted(text)}", "Write 0 or 1")
        return bool(value)

    difficult, truncated, occluded = flag("difficult"), flag("truncated"), flag("occluded")
    frames = element.findall("bndbox")
    if not frames:
        report("not VOC", f"{title} has no <bndbox>", "Draw an axis-aligned box, or remove it")
        return None
    if len(frames) > 1:
        report("not VOC", f"{title} has {len(frames)} <bndbox>", "Write one object per box")
        return None
    edges = _texts(frames[0])
    xmin, ymin, xmax, ymax = corners = [number(edges.get(tag, "")) for tag in CORNERS]
    if xmin is None or ymin is None or xmax is None or ymax is None:
        for tag, value in zip(CORNERS, corners, strict=True):
            if value is None:
                what = f"<{tag}> of {title} is {quoted(edges.get(tag, ''))}"
                report("bad coordinate", what, "Draw the box again")
        return None
    if not name:
        return None
    pose = texts.get("pose") or "Unspecified"
    box = Box(
        name,
        xmin,
        ymin,
        xmax,
        ymax,
        difficult=difficult,
        truncated=truncated,
        occluded=occluded,
        pose=pose,
    )
    return RawBox(label, box)


def parse_flag(text: str) -> bool | None:
    """Parses 0, 1, true, false, or the fraction that is cut off; no text means False."""
    if text.lower() in ("", "0", "false", "no", "unspecified"):
        return False
    if text.lower() in ("1", "true", "yes"):
        return True
    value = number(text)
    return None if value is None or value < 0 else value > 0
