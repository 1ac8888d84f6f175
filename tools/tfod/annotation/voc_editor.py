"""Changes the objects in a PASCAL VOC file, and nothing else: every other byte stays as it is.

Annotation tools write fields that others do not know, and people keep annotations under version
control.
"""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from lxml import etree

from tfod.annotation import CORNERS, Box
from tfod.annotation.raw_annotation import number
from tfod.annotation.voc import parse_flag
from tfod.errors import UserError

FLAGS = ("truncated", "occluded", "difficult")  # in the order of `write_voc`
INDENT = "    "


@dataclass
class _Element:
    """An element in the bytes of a file.

    Attributes:
      start, end: from `<` of its start tag to behind `>` of its end tag.
      content: where its content starts and ends; None if it is one tag, as `<name/>`.
      value: its text.
      children: the first of each name.
    """

    tag: str
    start: int
    end: int = 0
    content: tuple[int, int] | None = None
    value: str = ""
    children: dict[str, _Element] = field(default_factory=dict)


def edit_objects(
    path: Path,
    content: bytes,
    boxes: Mapping[int, Box],
    removed: Collection[int] = (),
    new: Sequence[Box] = (),
) -> bytes:
    """Returns the content of a VOC file with other objects.

    Args:
      path: of the file, for messages.
      content: of the file.
      boxes: objects by their position in the file, from 0, as they should be. Values that equal
        those of the file are not written. Changed edges are rounded, because LabelImg opens only
        integer pixels.
      removed: positions of the objects to remove.
      new: objects to add after the others.

    Raises:
      UserError: the file is not well-formed, or has a DOCTYPE.
    """
    if b"\0" in content[:4]:  # UTF-16, in which tags cannot be found as bytes
        content = etree.tostring(
            etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True)),
            encoding="utf-8",
            xml_declaration=True,
        )
    found = _Finder(path, content)
    edits: list[tuple[int, int, str]] = []  # start, end, replacement
    for position, element in enumerate(found.objects):
        if position in boxes:
            edits += _changes(content, element, boxes[position])
        elif position in removed:
            edits.append((_with_space(content, element.start), element.end, ""))
    if new:
        end = _end_of_content(content, found.root)
        edits.append((end, end, "".join(map(_new_object, new))))
    for start, end, replacement in sorted(edits, reverse=True):
        value = replacement.encode(found.encoding, "xmlcharrefreplace")
        content = content[:start] + value + content[end:]
    return content


class _Finder:
    """Finds the elements of a file by the positions that expat reports."""

    def __init__(self, path: Path, content: bytes) -> None:
        """Parses the file.

        Raises:
          UserError: the file is not well-formed, or has a DOCTYPE.
        """
        self.encoding = "utf-8"
        self.objects: list[_Element] = []
        self._path, self._content = path, content
        self._open: list[_Element] = []
        self._waiting: _Element | None = None  # for the end of its start tag
        parser = self._parser = xml.parsers.expat.ParserCreate()
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartCdataSectionHandler = parser.CommentHandler = self._other
        parser.ProcessingInstructionHandler = self._other
        try:
            parser.Parse(content, True)
        except xml.parsers.expat.ExpatError as error:
            what = f"is not well-formed XML: {error}"
            raise UserError(path, what, "Export the annotation again") from error
        if self.root.content is None:
            raise UserError(path, "contains nothing", "Delete it, or export the annotation again")

    def _declaration(self, _: str, encoding: str | None, __: int) -> None:
        self.encoding = encoding or self.encoding

    def _doctype(self, *_: object) -> None:
        what = "has a DOCTYPE, which may refer to other files"
        raise UserError(self._path, what, "Delete that line")

    def _start(self, tag: str, _: object) -> None:
        self._other()
        element = self._waiting = _Element(tag, self._parser.CurrentByteIndex)
        if not self._open:
            self.root = element
        else:
            self._open[-1].children.setdefault(tag, element)
            if tag == "object" and self._open == [self.root]:
                self.objects.append(element)
        self._open.append(element)

    def _end(self, _: str) -> None:
        element, index = self._open.pop(), self._parser.CurrentByteIndex
        if self._waiting is element and self._content[index - 2 : index] == b"/>":
            element.end, self._waiting = index, None  # one tag for start and end
            return
        self._other()
        assert element.content is not None  # `_other` has set it
        element.content = (element.content[0], index)
        element.end = self._content.index(b">", index) + 1

    def _text(self, text: str) -> None:
        self._other()
        self._open[-1].value += text

    def _other(self, *_: object) -> None:
        """Sets where the content of an element starts: at the first event after its start tag."""
        if self._waiting is not None:
            index = self._parser.CurrentByteIndex
            self._waiting.content, self._waiting = (index, index), None


def _changes(content: bytes, element: _Element, box: Box) -> list[tuple[int, int, str]]:
    """Returns the edits that give an object the values of a box."""
    edits = []

    def write(found: _Element, value: object) -> None:
        text = escape(str(value))
        if found.content is None:
            edits.append((found.start, found.end, f"<{found.tag}>{text}</{found.tag}>"))
        else:
            edits.append((*found.content, text))

    children = element.children
    if "name" in children and " ".join(children["name"].value.split()) != box.name:
        write(children["name"], box.name)
    for flag in FLAGS:
        wanted = getattr(box, flag)
        if flag in children:
            if bool(parse_flag(children[flag].value.strip())) != wanted:
                write(children[flag], int(wanted))
        elif wanted:
            end = _end_of_content(content, element)
            edits.append((end, end, f"\n{2 * INDENT}<{flag}>1</{flag}>"))
    corners = children["bndbox"].children if "bndbox" in children else {}
    for edge in CORNERS:
        if edge in corners and number(corners[edge].value.strip()) != getattr(box, edge):
            write(corners[edge], round(getattr(box, edge)))
    return edits


def _end_of_content(content: bytes, element: _Element) -> int:
    """Returns where to add a child: behind the last one."""
    assert element.content is not None  # an object without content is none of `boxes`
    return _with_space(content, element.content[1])


def _with_space(content: bytes, position: int) -> int:
    """Returns where the white space before a position starts."""
    return len(content[:position].rstrip())


def _new_object(box: Box) -> str:
    fields = [f"<name>{escape(box.name)}</name>", f"<pose>{escape(box.pose)}</pose>"]
    fields += [f"<{flag}>{int(getattr(box, flag))}</{flag}>" for flag in FLAGS]
    edges = [f"<{edge}>{round(getattr(box, edge))}</{edge}>" for edge in CORNERS]
    lines = ["<object>", *(INDENT + line for line in (*fields, "<bndbox>"))]
    lines += [*(2 * INDENT + edge for edge in edges), f"{INDENT}</bndbox>", "</object>"]
    return "".join(f"\n{INDENT}{line}" for line in lines)
