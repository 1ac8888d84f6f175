"""One PASCAL VOC XML file -> `Annotation`, with every check that concerns one file.

A file comes from anywhere and is believed nothing: a DTD is refused, so that no entity can be
expanded or fetched; a picture is looked up by its bare name in a list made beforehand, so that no
`<filename>` leads out of the pictures' folder; each number is read, compared and limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lxml import etree

from tfod import images
from tfod.annotation import Annotation, Box
from tfod.errors import BadFilesError, FileFault

MAX_XML_BYTES = 4 << 20  # some 10,000 objects; a page of text is what a picture has
EDGE_SLACK = 1.0  # pixels: VOC's own files count from 1, so their boxes may end one past the edge

Report = Callable[[str, str, str], None]  # kind, what, remedy


@dataclass(frozen=True)
class PictureFolder:
    """The pictures below a folder, as they were when it was listed.

    Attributes:
      root: the folder.
      by_stem: picture files by name without suffix, sorted.
    """

    root: Path
    by_stem: Mapping[str, Sequence[Path]]

    def paths(self) -> Iterator[Path]:
        """Every picture once."""
        for group in self.by_stem.values():
            yield from group


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files below `folder` with one of the suffixes (lower case, any case matches), sorted.

    The order is that of their relative paths and the same on every file system. Folders and files
    whose names begin with a dot are left out: caches, and the `._` twins of archives from macOS.
    """
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in suffixes and not any(part.startswith(".") for part in parts):
            found.append((parts, path))
    return [path for _, path in sorted(found) if path.is_file()]


def list_pictures(folder: Path) -> PictureFolder:
    """Lists the pictures below `folder`, for `read_annotation` to find them by name."""
    by_stem: dict[str, list[Path]] = {}
    for path in list_files(folder, images.suffixes()):
        by_stem.setdefault(path.stem, []).append(path)
    return PictureFolder(folder, by_stem)


def read_annotation(
    xml: Path,
    pictures: PictureFolder,
    subfolder: Path = Path(),
    classes: Collection[str] | None = None,
    decode: bool = True,
) -> Annotation:
    """Reads and checks one VOC file and the picture it belongs to.

    The picture is looked up by the base name of `<filename>`, then by that name with another
    picture suffix, then by the XML's own name; `<path>` and `<folder>` are not used. Of two
    pictures of a name, the one in the same subfolder as the XML is meant.

    Boxes stay in the pixels of the file, as floats; one that reaches over the edge by at most a
    pixel is clipped, and of equal ones the first is kept. Where a picture carries an EXIF
    orientation, and `<size>` is that of its stored pixels and not that of the picture turned
    upright, the boxes were drawn on the stored pixels; else (`Annotation.rotate`) on the upright
    picture.

    Args:
      subfolder: where below the folder of annotations the XML lies, such as `day/cam1`.
      classes: names that may occur; None for any.
      decode: decodes the whole picture; else only its header is read.

    Raises:
      BadFilesError: all faults found in this file, each a `FileFault` of one of the kinds "broken
        XML", "not VOC", "bad value", "image missing", "image ambiguous", "image unreadable", "size
        differs", "bad coordinate", "box outside", "box without area", "unknown class".
    """
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(xml, kind, what, remedy))

    root = _parse(xml, report)
    if root is None:
        raise BadFilesError(xml, faults)
    size = rotate = picture = header = None
    try:
        filename = root.findtext("filename", "").strip()
        picture = _find_picture(xml, filename, pictures, subfolder)
        header = images.check_image(picture, decode)
        size, rotate = _size(root, header, report)
    except FileFault as fault:
        faults.append(fault)
    mended: list[str] = []
    boxes = [
        _read_box(element, f"object {number}", size, classes, report, mended)
        for number, element in enumerate(root.findall("object"), 1)
    ]
    if faults:
        raise BadFilesError(xml, faults)
    once = tuple(dict.fromkeys(boxes))
    mended += ["box repeated"] * (len(boxes) - len(once))
    return Annotation(xml, picture, *size, once, rotate, header.digest, tuple(mended))


def _parse(xml: Path, report: Report) -> etree._Element | None:
    """The `annotation` element, or None with the fault reported."""
    # Comments would split the text around them. Depth and text length keep libxml2's own limits.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        with xml.open("rb") as file:
            data = file.read(MAX_XML_BYTES + 1)
        if len(data) > MAX_XML_BYTES:
            report("broken XML", f"larger than {MAX_XML_BYTES >> 20} MiB", "Give one VOC file")
            return None
        root = etree.fromstring(data, parser)
    except OSError as error:
        report("broken XML", f"cannot be read: {error.strerror}", "Check its permissions")
    except (etree.LxmlError, LookupError, ValueError) as error:
        reason = " ".join(str(getattr(error, "msg", None) or error).split())
        report("broken XML", f"no well-formed XML: {reason}", "Export the annotation again")
    else:
        if root.getroottree().docinfo.doctype:
            report("broken XML", "has a DOCTYPE, which may name other files", "Delete that line")
        elif root.tag != "annotation":
            what = f"its root is {_quoted(root.tag)}, not 'annotation'"
            report("not VOC", what, "Export as PASCAL VOC, or move the file away")
        else:
            return root
    return None


def _text(element: etree._Element, tag: str) -> str:
    """Text of a child, spaces and line breaks in a row as one; "" where it is missing or empty."""
    return " ".join(element.findtext(tag, "").split())


def _quoted(text: str) -> str:
    """Text of a file for a message: in quotes, control characters escaped, not endless."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _find_picture(xml: Path, filename: str, pictures: PictureFolder, subfolder: Path) -> Path:
    """The one picture that an XML means.

    Raises:
      FileFault: "image missing" or "image ambiguous".
    """
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    suffix = PurePosixPath(name).suffix
    # "sign.v2" is a name without suffix, not a file of type v2.
    stem = name.removesuffix(suffix) if suffix.lower() in images.suffixes() else name
    beside = pictures.root / subfolder
    for wanted in dict.fromkeys((stem, xml.stem)):
        named = pictures.by_stem.get(wanted, ())
        for group in ([path for path in named if path.parent == beside], named):
            found = (
                [path for path in group if path.name == name]
                or [path for path in group if path.suffix.lower() == suffix.lower()]
                or group
            )
            if len(found) == 1:
                return found[0]
            if found:
                names = " and ".join(str(path.relative_to(pictures.root)) for path in found)
                raise FileFault(
                    xml,
                    "image ambiguous",
                    f"its picture may be {names}",
                    "Remove or rename all but one",
                )
    raise FileFault(
        xml,
        "image missing",
        f"no picture {_quoted(name or xml.stem)} in {pictures.root}",
        "Add the picture, or remove the XML",
    )


def _size(
    root: etree._Element, header: images.Header, report: Report
) -> tuple[tuple[int, int], bool]:
    """Size of the picture that the boxes were drawn on, and whether it is the one turned upright.

    Some tools write no size, or 0; only a size that is there and another is a fault.
    """
    said: list[float] = []
    for tag in ("width", "height"):
        text = _text(root, f"size/{tag}")
        number = _number(text or "0")
        if number is None or number < 0:
            what = f"<{tag}> of its <size> is {_quoted(text)}"
            report("bad value", what, "Write the picture's size")
            number = 0
        said.append(number)
    known = all(said)
    if known and tuple(said) == header.stored != header.upright:
        return header.stored, False
    if known and tuple(said) != header.upright:
        report(
            "size differs",
            f"its <size> is {said[0]:g} x {said[1]:g}, the picture's "
            f"{header.upright[0]} x {header.upright[1]}",
            "Annotate the picture as it is now, or put back the one that was annotated",
        )
    return header.upright, header.orientation != 1


def _read_box(
    element: etree._Element,
    label: str,
    size: tuple[int, int] | None,
    classes: Collection[str] | None,
    report: Report,
    mended: list[str],
) -> Box | None:
    """One `object` element as a Box, or None with its faults reported.

    Args:
      label: how messages call it.
      size: (width, height) to hold the box against; None where the picture is not known.
      mended: gets "box clipped" where that was done.
    """
    name = _text(element, "name")
    if not name:
        report("not VOC", f"{label} has no <name>", "Name its class")
    else:
        if classes is not None and name not in classes:
            what = f"class {_quoted(name)} of {label} is not in the label map"
            report("unknown class", what, "Correct the name, or add it to the label map")
        label = f"{label} {_quoted(name)}"
    flags = {}
    for tag in ("difficult", "truncated"):
        flags[tag] = _flag(_text(element, tag))
        if flags[tag] is None:
            what = f"<{tag}> of {label} is {_quoted(_text(element, tag))}"
            report("bad value", what, "Write 0 or 1")
    corners = _corners(element, label, report)
    if corners and size:
        drawn, corners = corners, _clipped(corners, size, label, report)
        mended += ["box clipped"] * (corners is not None and corners != drawn)
    if corners is None:
        return None
    return Box(name, *corners, **flags, pose=_text(element, "pose") or "Unspecified")


def _corners(
    element: etree._Element, label: str, report: Report
) -> tuple[float, float, float, float] | None:
    frame = element.find("bndbox")
    if frame is None:
        report("not VOC", f"{label} has no <bndbox>", "Draw it as an upright box, or remove it")
        return None
    values = {tag: _number(_text(frame, tag)) for tag in ("xmin", "ymin", "xmax", "ymax")}
    for tag, value in values.items():
        if value is None:
            what = f"<{tag}> of {label} is {_quoted(_text(frame, tag))}"
            report("bad coordinate", what, "Draw the box again")
    if None in values.values():
        return None
    xmin, ymin, xmax, ymax = values.values()
    if xmin >= xmax or ymin >= ymax:
        what = f"{label} spans {xmin:g} to {xmax:g} across and {ymin:g} to {ymax:g} down"
        report("box without area", what, "Draw it again, or remove it")
        return None
    return xmin, ymin, xmax, ymax


def _clipped(
    corners: tuple[float, float, float, float],
    size: tuple[int, int],
    label: str,
    report: Report,
) -> tuple[float, float, float, float] | None:
    limits = (*size, *size)
    clipped = tuple(min(max(at, 0.0), limit) for at, limit in zip(corners, limits, strict=True))
    over = max(abs(at - kept) for at, kept in zip(corners, clipped, strict=True))
    box = ", ".join(f"{at:g}" for at in corners)
    if over > EDGE_SLACK:
        what = f"{label} at {box} leaves the picture of {size[0]} x {size[1]}"
        report("box outside", what, "Draw it again, or remove it")
        return None
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        what = f"{label} at {box} lies on the edge of the picture of {size[0]} x {size[1]}"
        report("box without area", what, "Draw it again, or remove it")
        return None
    return clipped


def _number(text: str) -> float | None:
    """A finite number as XML files write it, or None. Unlike `float`, no "1_000" and no "nan"."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _flag(text: str) -> bool | None:
    """0, 1, a share of 1 (how much is cut off), true, false; missing counts as no."""
    if text.lower() in ("", "false", "no", "unspecified"):
        return False
    if text.lower() in ("true", "yes"):
        return True
    number = _number(text)
    return None if number is None or number < 0 else number > 0
