"""Tests `annotation.voc_editor`: an edit changes the values that differ, and no other byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tfod.annotation import Box
from tfod.annotation.voc import read_xml
from tfod.annotation.voc_editor import edit_objects
from tfod.errors import UserError

# As CVAT writes it, with fields that tfod does not know, a comment, tabs and Windows' line ends.
TEXT = """<?xml version="1.0" encoding="{encoding}"?>\r
<annotation verified="yes">\r
\t<filename>a.jpg</filename>\r
\t<size><width>200</width><height>100</height><depth>3</depth></size>\r
\t<object id='1>0'>\r
\t\t<name>Fu\u00df &amp; Ball</name><!-- sure -->\r
\t\t<attributes><attribute><name>color</name><value>red</value></attribute></attributes>\r
\t\t<truncated>Unspecified</truncated>\r
\t\t<difficult/>\r
\t\t<bndbox><xmin>10.0</xmin><ymin> 20 </ymin><xmax>30.25</xmax><ymax>40</ymax></bndbox>\r
\t</object>\r
\t<object><name><![CDATA[x<y]]></name>\r
\t\t<bndbox><xmax>3</xmax><ymax>4</ymax><xmin>1</xmin><ymin>2</ymin></bndbox></object>\r
\t<object><name>no box</name></object>\r
</annotation>\r
"""
NEW = Box("a < b", 5.4, 6, 7.6, 8, difficult=True)


@pytest.fixture(params=["utf-8", "iso-8859-1", "utf-16"])
def content(request) -> bytes:
    return TEXT.format(encoding=request.param).encode(request.param)


def boxes_of(content: bytes, folder: Path) -> dict[int, Box]:
    path = folder / "a.xml"
    path.write_bytes(content)
    raw = read_xml(path)
    return {int(item.label.split()[1]) - 1: item.box for item in raw.objects}


def edit(content: bytes, boxes, **options) -> bytes:
    return edit_objects(Path("a.xml"), content, boxes, **options)


def lines_changed(before: bytes, after: bytes) -> list[bytes]:
    return [line for line in after.splitlines() if line not in before.splitlines()]


def test_the_same_objects_leave_all_bytes(tmp_path):
    for encoding in ("utf-8", "iso-8859-1"):
        content = TEXT.format(encoding=encoding).encode(encoding)
        assert edit(content, boxes_of(content, tmp_path)) == content


def test_only_changed_values_are_written(tmp_path):
    content = TEXT.format(encoding="utf-8").encode()
    boxes = boxes_of(content, tmp_path)
    boxes[0] = replace(boxes[0], xmax=31.7, difficult=True)
    after = edit(content, boxes)
    assert lines_changed(content, after) == [
        b"\t\t<difficult>1</difficult>",
        b"\t\t<bndbox><xmin>10.0</xmin><ymin> 20 </ymin><xmax>32</xmax><ymax>40</ymax></bndbox>",
    ]


def test_all_edits_are_read_back_in_any_encoding(content, tmp_path):
    boxes = boxes_of(content, tmp_path)
    assert boxes[0].name == "Fu\u00df & Ball"
    changed = replace(boxes[1], name="\u505c & <\u00e9>", ymin=0, truncated=True)
    after = edit(content, {1: changed}, removed=[0], new=[NEW, NEW])
    read = boxes_of(after, tmp_path)
    rounded = replace(NEW, xmin=5, xmax=8)
    assert read == {0: changed, 2: rounded, 3: rounded}  # 1 is the one without a box
    assert after.count(b"no box") == 1 and after.count(b"verified") == 1


def test_objects_are_removed_with_their_line(tmp_path):
    content = TEXT.format(encoding="utf-8").encode()
    after = edit(content, {}, removed=[0, 1])
    assert [line.strip() for line in after.splitlines()] == [
        line.strip()
        for line in content.splitlines()
        if not any(part in line for part in (b"id=", b"Fu", b"attr", b"trunc", b"diff", b"bndbox"))
        and line.strip() not in (b"</object>",)
        and b"CDATA" not in line
    ]


def test_a_file_without_objects_gets_its_first(tmp_path):
    after = edit(b"<annotation><filename>a.jpg</filename></annotation>", {}, new=[NEW])
    assert boxes_of(after, tmp_path) == {0: replace(NEW, xmin=5, xmax=8)}
    assert after.startswith(b"<annotation><filename>a.jpg</filename>\n    <object>\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<annotation><object></annotation>", "is not well-formed XML"),
        (b"", "is not well-formed XML"),
        (b"<annotation/>", "contains nothing"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "has a DOCTYPE"),
    ],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(UserError, match=message):
        edit(content, {}, new=[NEW])


def test_real_files_stay_as_they_are(shared, tmp_path):
    count = 0
    for path in sorted(shared.glob("*/annotations/*.xml"))[::5]:
        raw = read_xml(path)
        if not raw.faults:
            boxes = {number: item.box for number, item in enumerate(raw.objects)}
            assert edit(path.read_bytes(), boxes) == path.read_bytes(), path
            count += 1
    assert count > 100
