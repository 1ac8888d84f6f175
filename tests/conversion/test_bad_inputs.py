"""A collection of what people hand in, by mistake or on purpose, and the line that each gets."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from helpers.voc_files import voc_object, write_image, write_xml
from tfod.conversion.annotation_folder import read_folder
from tfod.errors import BadFilesError

Make = Callable[[Path], object]  # puts one fault into a good VOC folder


def xml(text: str | bytes) -> Make:
    data = text.encode() if isinstance(text, str) else text
    return lambda voc: (voc / "xml/bad.xml").write_bytes(data)


def boxed(*objects: str, **options) -> Make:
    return lambda voc: write_xml(voc / "xml/bad.xml", *objects, **options)


def box(xmin, ymin, xmax, ymax) -> Make:
    return boxed(voc_object("stop", (xmin, ymin, xmax, ymax)))


def without(tag: str) -> Make:
    return boxed(re.sub(rf"<{tag}>[^<]*</{tag}>", "", voc_object("stop")))


def tagged(more: str) -> Make:
    return boxed(voc_object("stop", more=more))


def picture(data: bytes, name: str = "bad.jpg") -> Make:
    def make(voc: Path) -> None:
        (voc / "images/bad.jpg").unlink()
        (voc / f"images/{name}").write_bytes(data)

    return make


def encoded(kind: str, size=(40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + png_chunk(b"IDAT", zlib.compress(b"\0"))
        + (png_chunk(b"IEND", b""))
    )


def png_with_a_fallen_bit() -> bytes:
    """In the stored pixels of an uncompressed picture, so that it decodes, to another one."""
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(buffer, "PNG", compress_level=0)
    data = bytearray(buffer.getvalue())
    data[len(data) // 2] ^= 1
    return bytes(data)


def second_picture(voc: Path) -> None:
    write_image(voc / "images/a/bad.jpg")
    write_image(voc / "images/b/bad.jpg")
    (voc / "images/bad.jpg").unlink()


def loop(voc: Path) -> None:
    (voc / "images/bad.jpg").unlink()
    (voc / "images/bad.jpg").symlink_to(voc / "images/bad.jpg")


def folder_for_picture(voc: Path) -> None:
    (voc / "images/bad.jpg").unlink()
    (voc / "images/bad.jpg").mkdir()


def named(filename: str) -> Make:
    """An XML of another name than its picture, which it does not find."""

    def make(voc: Path) -> None:
        (voc / "images/bad.jpg").rename(voc / "secret.jpg")
        boxed(voc_object("stop"), filename=filename.format(voc=voc))(voc)

    return make


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
OBJECT = voc_object("stop")
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"

# what, how to make it, kind of fault, piece of the line
CORPUS: list[tuple[str, Make, str, str]] = [
    ("an empty file", xml(""), "broken XML", "no well-formed XML"),
    ("blanks only", xml(" \n "), "broken XML", "no well-formed XML"),
    ("an XML cut off", xml("<annotation><object><na"), "broken XML", "no well-formed XML"),
    ("tags that cross", xml("<annotation><a><b></a></b></annotation>"), "broken XML", "mismatch"),
    ("a bare ampersand", xml("<annotation>a & b</annotation>"), "broken XML", "no well-formed XML"),
    ("a null byte", xml("<annotation>\0</annotation>"), "broken XML", "no well-formed XML"),
    ("Latin-1 said to be UTF-8", xml(b"<annotation>\xe9</annotation>"), "broken XML", "well"),
    ("an unknown encoding", xml('<?xml version="1.0" encoding="x-me"?><annotation/>'),
     "broken XML", "encoding"),
    ("JSON", xml('{"annotations": []}'), "broken XML", "no well-formed XML"),
    ("two roots", xml("<annotation/><annotation/>"), "broken XML", "no well-formed XML"),
    ("a control character as a number", xml("<annotation>&#2;</annotation>"), "broken XML", "well"),
    ("a DOCTYPE", xml("<!DOCTYPE annotation><annotation/>"), "broken XML", "has a DOCTYPE"),
    ("an entity of its own", xml('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'),
     "broken XML", "DOCTYPE"),
    ("a file as an entity",
     xml('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'),
     "broken XML", "DOCTYPE"),
    ("a web page as an entity",
     xml('<!DOCTYPE a [<!ENTITY x SYSTEM "http://localhost/">]><annotation>&x;</annotation>'),
     "broken XML", "DOCTYPE"),
    ("a DTD elsewhere", xml('<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><annotation/>'),
     "broken XML", "DOCTYPE"),
    ("a billion laughs",
     xml(f'<!DOCTYPE a [<!ENTITY a0 "ha">{LAUGHS}]><annotation>&a9;</annotation>'),
     "broken XML", ""),
    ("a gigabyte of text, begun", xml(b"<annotation>" + b"x" * (5 << 20)), "broken XML",
     "larger than 4 MiB"),
    ("ten thousand tags deep", xml("<annotation>" + "<a>" * 10_000), "broken XML", "well-formed"),
    ("another root", xml("<annotations/>"), "not VOC", "'annotations', not 'annotation'"),
    ("a namespace", xml('<annotation xmlns="urn:x"/>'), "not VOC", "not 'annotation'"),
    ("an HTML page", xml("<html><body/></html>"), "not VOC", "'html', not 'annotation'"),
    ("an SVG", xml('<svg xmlns="http://www.w3.org/2000/svg"/>'), "not VOC", "not 'annotation'"),
    ("an object without a name", without("name"), "not VOC", "object 1 has no <name>"),
    ("a name of blanks", boxed(voc_object("  ")), "not VOC", "object 1 has no <name>"),
    ("an object without a box", boxed("<object><name>stop</name></object>"), "not VOC",
     "object 1 'stop' has no <bndbox>"),
    ("a polygon", boxed("<object><name>stop</name><polygon><x1>1</x1></polygon></object>"),
     "not VOC", "has no <bndbox>"),
    ("a turned box", boxed("<object><name>stop</name><robndbox><cx>9</cx></robndbox></object>"),
     "not VOC", "Draw it as an upright box"),
    ("no xmin", without("xmin"), "bad coordinate", "<xmin> of object 1 'stop' is ''"),
    ("no ymin", without("ymin"), "bad coordinate", "<ymin> of object 1 'stop' is ''"),
    ("no xmax", without("xmax"), "bad coordinate", "<xmax> of object 1 'stop' is ''"),
    ("no ymax", without("ymax"), "bad coordinate", "<ymax> of object 1 'stop' is ''"),
    ("a word for a number", box("ten", 1, 20, 20), "bad coordinate", "is 'ten'"),
    ("no number", box("nan", 1, 20, 20), "bad coordinate", "is 'nan'"),
    ("infinity", box(1, 1, "inf", 20), "bad coordinate", "is 'inf'"),
    ("more than a float holds", box(1, 1, "1e999", 20), "bad coordinate", "is '1e999'"),
    ("a Python number", box("1_0", 1, 20, 20), "bad coordinate", "is '1_0'"),
    ("a hexadecimal number", box("0x1", 1, 20, 20), "bad coordinate", "is '0x1'"),
    ("a decimal comma", box("1,5", 1, 20, 20), "bad coordinate", "is '1,5'"),
    ("two numbers", box("1 2", 1, 20, 20), "bad coordinate", "is '1 2'"),
    ("left and right swapped", box(20, 1, 10, 20), "box without area", "spans 20 to 10 across"),
    ("top and bottom swapped", box(1, 20, 10, 5), "box without area", "and 20 to 5 down"),
    ("no width", box(10, 1, 10, 20), "box without area", "spans 10 to 10 across"),
    ("no height", box(1, 7, 10, 7), "box without area", "and 7 to 7 down"),
    ("too far left", box(-5, 1, 10, 20), "box outside",
     "at -5, 1, 10, 20 leaves the picture of 40 x 30"),
    ("too far up", box(1, -5, 10, 20), "box outside", "leaves the picture"),
    ("too far right", box(1, 1, 45, 20), "box outside", "leaves the picture"),
    ("too far down", box(1, 1, 10, 33), "box outside", "leaves the picture"),
    ("somewhere else", box(400, 300, 500, 400), "box outside", "leaves the picture"),
    ("just beyond the edge", box(40, 1, 41, 20), "box without area", "lies on the edge"),
    ("the size of another picture", boxed(OBJECT, size=(400, 300)), "size differs",
     "its size is said to be 400 x 300, the picture's is 40 x 30"),
    ("width and height swapped", boxed(OBJECT, size=(30, 40)), "size differs", "to be 30 x 40"),
    ("a negative size", boxed(OBJECT, size=(-40, 30)), "bad value",
     "<width> of its <size> is '-40'"),
    ("a word for a size", boxed(OBJECT, size=("wide", 30)), "bad value", "is 'wide'"),
    ("difficult, perhaps", tagged("<difficult>perhaps</difficult>"), "bad value",
     "<difficult> of object 1 'stop' is 'perhaps'"),
    ("truncated below nothing", tagged("<truncated>-1</truncated>"), "bad value", "is '-1'"),
    ("a class outside the label map", boxed(voc_object("tram")), "unknown class",
     "class 'tram' of object 1 is not in the label map"),
    ("a picture of another name", named("other.jpg"), "image missing", "no picture 'other.jpg'"),
    ("a path out of the folder", named("../secret.jpg"), "image missing", "'secret.jpg' in"),
    ("an absolute path", named("{voc}/secret.jpg"), "image missing", "no picture 'secret.jpg'"),
    ("a path of Windows", named(r"C:\Users\me\gone.jpg"), "image missing", "no picture 'gone.jpg'"),
    ("two pictures of a name", second_picture, "image ambiguous", "a/bad.jpg and b/bad.jpg"),
    ("a picture that is a folder", folder_for_picture, "image missing", "no picture 'bad.jpg'"),
    ("a link to itself", loop, "image missing", "no picture 'bad.jpg'"),
    ("an empty picture", picture(b""), "image unreadable", "is no picture that can be read"),
    ("text as a picture", picture(b"see attachment"), "image unreadable", "is no picture"),
    ("a web page as a picture", picture(HTML), "image unreadable", "is no picture"),
    ("PostScript as a picture", picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n"),
     "image unreadable", "is no picture"),
    ("a JPEG cut off", picture(encoded("JPEG")[:-200]), "image unreadable", "truncated"),
    ("a JPEG of a header", picture(encoded("JPEG")[:100]), "image unreadable", ""),
    ("a PNG with a fallen bit", picture(png_with_a_fallen_bit(), "bad.png"), "image unreadable",
     "its pixels do not match their checksum"),
    ("a PNG cut off", picture(encoded("PNG")[:-200], "bad.png"), "image unreadable", "truncated"),
    ("a GIF cut off", picture(encoded("GIF")[:200], "bad.gif"), "image unreadable", ""),
    ("a BMP cut off", picture(encoded("BMP")[:200], "bad.bmp"), "image unreadable", "truncated"),
    ("a WebP cut off", picture(encoded("WEBP")[:60], "bad.webp"), "image unreadable", ""),
    ("a bomb", picture(png_of(60_000, 60_000), "bad.png"), "image unreadable", "pixels"),
    ("a picture without width", picture(png_of(0, 30), "bad.png"), "image unreadable", ""),
]  # fmt: skip


def test_there_are_at_least_sixty():
    assert len({what for what, *_ in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize(
    ("make", "kind", "says"), [case[1:] for case in CORPUS], ids=[case[0] for case in CORPUS]
)
def test_gets_its_line(make, kind, says, tmp_path):
    for name in ("good", "bad"):
        write_image(tmp_path / f"images/{name}.jpg", colour=(len(name), 0, 0))
        write_xml(tmp_path / f"xml/{name}.xml", voc_object("stop"))
    make(tmp_path)
    with pytest.raises(BadFilesError) as caught:
        read_folder(tmp_path / "xml", tmp_path / "images", classes={"stop"})
    (fault,) = caught.value.errors
    line = str(fault)
    assert fault.kind == kind
    assert says in line
    assert "bad." in line and "good" not in line
    assert len(line.splitlines()) == 1 and len(line) < 500 and line.endswith(".")
    assert f"1 unusable file (1 {kind})" in str(caught.value)
    # Without it, the other one is used.
    checked = read_folder(tmp_path / "xml", tmp_path / "images", classes={"stop"}, skip_bad=True)
    assert [annotation.image.name for annotation in checked.annotations] == ["good.jpg"]
