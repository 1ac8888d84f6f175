"""Tests the messages for a collection of faulty and malicious inputs."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from helpers.png_files import png_file
from helpers.voc_files import LAUGHS, voc_object, write_image, write_xml
from tfod.conversion.annotation_folder import read_folder
from tfod.errors import BadFilesError

Make = Callable[[Path], object]  # adds one fault to a correct VOC folder


def xml(text: str | bytes) -> Make:
    data = text.encode() if isinstance(text, str) else text
    return lambda voc: (voc / "xml/bad.xml").write_bytes(data)


def with_objects(*objects: str, **options) -> Make:
    return lambda voc: write_xml(voc / "xml/bad.xml", *objects, **options)


def box(xmin, ymin, xmax, ymax) -> Make:
    return with_objects(voc_object("stop", (xmin, ymin, xmax, ymax)))


def without(tag: str) -> Make:
    return with_objects(re.sub(rf"<{tag}>[^<]*</{tag}>", "", voc_object("stop")))


def with_tags(more: str) -> Make:
    return with_objects(voc_object("stop", tags=more))


def with_image(data: bytes, name: str = "bad.jpg") -> Make:
    def make(voc: Path) -> None:
        (voc / "images/bad.jpg").unlink()
        (voc / f"images/{name}").write_bytes(data)

    return make


def encoded(kind: str, size=(40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def png_with_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_file((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))


def png_with_flipped_bit() -> bytes:
    """Flips a bit in the stored pixels of an uncompressed image, which still decodes."""
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(buffer, "PNG", compress_level=0)
    data = bytearray(buffer.getvalue())
    data[len(data) // 2] ^= 1
    return bytes(data)


def same_name_twice(voc: Path) -> None:
    write_image(voc / "images/a/bad.jpg")
    write_image(voc / "images/b/bad.jpg")
    (voc / "images/bad.jpg").unlink()


def link_to_itself(voc: Path) -> None:
    (voc / "images/bad.jpg").unlink()
    (voc / "images/bad.jpg").symlink_to(voc / "images/bad.jpg")


def folder_as_image(voc: Path) -> None:
    (voc / "images/bad.jpg").unlink()
    (voc / "images/bad.jpg").mkdir()


def xml_with_filename(filename: str) -> Make:
    """Gives the XML a `<filename>` that is not in the image folder."""

    def make(voc: Path) -> None:
        (voc / "images/bad.jpg").rename(voc / "secret.jpg")
        with_objects(voc_object("stop"), filename=filename.format(voc=voc))(voc)

    return make


OBJECT = voc_object("stop")
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"

# description, function that makes the fault, kind of fault, part of the message
CORPUS: list[tuple[str, Make, str, str]] = [
    ("an empty file", xml(""), "broken XML", "is not well-formed XML"),
    ("only whitespace", xml(" \n "), "broken XML", "is not well-formed XML"),
    ("a truncated XML", xml("<annotation><object><na"), "broken XML", "is not well-formed XML"),
    ("tags that cross", xml("<annotation><a><b></a></b></annotation>"), "broken XML", "mismatch"),
    ("a bare ampersand", xml("<annotation>a & b</annotation>"),
     "broken XML", "is not well-formed XML"),
    ("a null byte", xml("<annotation>\0</annotation>"), "broken XML", "is not well-formed XML"),
    ("Latin-1 declared as UTF-8", xml(b"<annotation>\xe9</annotation>"), "broken XML", "well"),
    ("an unknown encoding", xml('<?xml version="1.0" encoding="x-me"?><annotation/>'),
     "broken XML", "encoding"),
    ("JSON", xml('{"annotations": []}'), "broken XML", "is not well-formed XML"),
    ("two roots", xml("<annotation/><annotation/>"), "broken XML", "is not well-formed XML"),
    ("a control character as a number", xml("<annotation>&#2;</annotation>"), "broken XML", "well"),
    ("a DOCTYPE", xml("<!DOCTYPE annotation><annotation/>"), "broken XML", "has a DOCTYPE"),
    ("an internal entity", xml('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'),
     "broken XML", "DOCTYPE"),
    ("an external entity with a file",
     xml('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'),
     "broken XML", "DOCTYPE"),
    ("an external entity with a URL",
     xml('<!DOCTYPE a [<!ENTITY x SYSTEM "http://localhost/">]><annotation>&x;</annotation>'),
     "broken XML", "DOCTYPE"),
    ("an external DTD", xml('<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><annotation/>'),
     "broken XML", "DOCTYPE"),
    ("a billion laughs attack",
     xml(f'<!DOCTYPE a [{LAUGHS}]><annotation>&l11;</annotation>'),
     "broken XML", ""),
    ("5 MiB of text", xml(b"<annotation>" + b"x" * (5 << 20)), "broken XML",
     "is larger than 4 MiB"),
    ("10,000 nested tags", xml("<annotation>" + "<a>" * 10_000), "broken XML", "well-formed"),
    ("another root element", xml("<annotations/>"), "not VOC", "'annotations', not 'annotation'"),
    ("a namespace", xml('<annotation xmlns="urn:x"/>'), "not VOC", "not 'annotation'"),
    ("an HTML page", xml("<html><body/></html>"), "not VOC", "'html', not 'annotation'"),
    ("an SVG", xml('<svg xmlns="http://www.w3.org/2000/svg"/>'), "not VOC", "not 'annotation'"),
    ("an object without a name", without("name"), "not VOC", "object 1 has no <name>"),
    ("a name of spaces", with_objects(voc_object("  ")), "not VOC", "object 1 has no <name>"),
    ("an object without a box", with_objects("<object><name>stop</name></object>"), "not VOC",
     "object 1 'stop' has no <bndbox>"),
    ("a polygon", with_objects("<object><name>stop</name><polygon><x1>1</x1></polygon></object>"),
     "not VOC", "has no <bndbox>"),
    ("a rotated box",
     with_objects("<object><name>stop</name><robndbox><cx>9</cx></robndbox></object>"),
     "not VOC", "Draw an axis-aligned box"),
    ("no xmin", without("xmin"), "bad coordinate", "<xmin> of object 1 'stop' is ''"),
    ("no ymin", without("ymin"), "bad coordinate", "<ymin> of object 1 'stop' is ''"),
    ("no xmax", without("xmax"), "bad coordinate", "<xmax> of object 1 'stop' is ''"),
    ("no ymax", without("ymax"), "bad coordinate", "<ymax> of object 1 'stop' is ''"),
    ("a word as a coordinate", box("ten", 1, 20, 20), "bad coordinate", "is 'ten'"),
    ("NaN", box("nan", 1, 20, 20), "bad coordinate", "is 'nan'"),
    ("infinity", box(1, 1, "inf", 20), "bad coordinate", "is 'inf'"),
    ("a number too large for a float", box(1, 1, "1e999", 20), "bad coordinate", "is '1e999'"),
    ("an underscore in a number", box("1_0", 1, 20, 20), "bad coordinate", "is '1_0'"),
    ("a hexadecimal number", box("0x1", 1, 20, 20), "bad coordinate", "is '0x1'"),
    ("a decimal comma", box("1,5", 1, 20, 20), "bad coordinate", "is '1,5'"),
    ("two numbers", box("1 2", 1, 20, 20), "bad coordinate", "is '1 2'"),
    ("left and right swapped", box(20, 1, 10, 20), "box without area", "extends from x 20 to 10"),
    ("top and bottom swapped", box(1, 20, 10, 5), "box without area", "y 20 to 5"),
    ("no width", box(10, 1, 10, 20), "box without area", "extends from x 10 to 10"),
    ("no height", box(1, 7, 10, 7), "box without area", "y 7 to 7"),
    ("too far left", box(-5, 1, 10, 20), "box outside",
     "at -5, 1, 10, 20 extends outside the image of 40 x 30"),
    ("too far up", box(1, -5, 10, 20), "box outside", "extends outside the image"),
    ("too far right", box(1, 1, 45, 20), "box outside", "extends outside the image"),
    ("too far down", box(1, 1, 10, 33), "box outside", "extends outside the image"),
    ("completely outside", box(400, 300, 500, 400), "box outside", "extends outside the image"),
    ("less than a pixel beyond the edge", box(40, 1, 41, 20),
     "box without area", "is beyond the edge"),
    ("the size of another image", with_objects(OBJECT, size=(400, 300)), "size differs",
     "the annotated size is 400 x 300, but the image is 40 x 30"),
    ("width and height swapped", with_objects(OBJECT, size=(30, 40)),
     "size differs", "size is 30 x 40"),
    ("a negative size", with_objects(OBJECT, size=(-40, 30)), "bad value",
     "<width> of its <size> is '-40'"),
    ("a word as a size", with_objects(OBJECT, size=("wide", 30)), "bad value", "is 'wide'"),
    ("difficult is not a truth value", with_tags("<difficult>perhaps</difficult>"), "bad value",
     "<difficult> of object 1 'stop' is 'perhaps'"),
    ("truncated is negative", with_tags("<truncated>-1</truncated>"), "bad value", "is '-1'"),
    ("a class outside the label map", with_objects(voc_object("tram")), "unknown class",
     "class 'tram' of object 1 is not in the label map"),
    ("an image with another name", xml_with_filename("other.jpg"),
     "image missing", "no image 'other.jpg'"),
    ("a path that leaves the folder", xml_with_filename("../secret.jpg"),
     "image missing", "'secret.jpg' in"),
    ("an absolute path", xml_with_filename("{voc}/secret.jpg"),
     "image missing", "no image 'secret.jpg'"),
    ("a Windows path", xml_with_filename(r"C:\Users\me\gone.jpg"),
     "image missing", "no image 'gone.jpg'"),
    ("two images with the same name", same_name_twice, "image ambiguous", "a/bad.jpg, b/bad.jpg"),
    ("a folder instead of an image", folder_as_image, "image missing", "no image 'bad.jpg'"),
    ("a link to itself", link_to_itself, "image missing", "no image 'bad.jpg'"),
    ("an empty image", with_image(b""), "image unreadable", "is not a readable image"),
    ("text as an image", with_image(b"see attachment"),
     "image unreadable", "is not a readable image"),
    ("a web page as an image", with_image(HTML), "image unreadable", "is not a readable image"),
    ("PostScript as an image", with_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n"),
     "image unreadable", "is not a readable image"),
    ("a truncated JPEG", with_image(encoded("JPEG")[:-200]), "image unreadable", "truncated"),
    ("only the header of a JPEG", with_image(encoded("JPEG")[:100]), "image unreadable", ""),
    ("a PNG with a flipped bit", with_image(png_with_flipped_bit(), "bad.png"), "image unreadable",
     "pixels do not match their checksum"),
    ("a truncated PNG", with_image(encoded("PNG")[:-200], "bad.png"),
     "image unreadable", "truncated"),
    ("a truncated GIF", with_image(encoded("GIF")[:200], "bad.gif"), "image unreadable", ""),
    ("a truncated BMP", with_image(encoded("BMP")[:200], "bad.bmp"),
     "image unreadable", "truncated"),
    ("a truncated WebP", with_image(encoded("WEBP")[:60], "bad.webp"), "image unreadable", ""),
    ("a decompression bomb", with_image(png_with_size(60_000, 60_000), "bad.png"),
     "image unreadable", "pixels"),
    ("an image without width", with_image(png_with_size(0, 30), "bad.png"), "image unreadable", ""),
]  # fmt: skip


def test_corpus_has_at_least_sixty_cases():
    assert len({description for description, *_ in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize(
    ("make", "kind", "message"), [case[1:] for case in CORPUS], ids=[case[0] for case in CORPUS]
)
def test_fault_is_reported_in_one_line(make, kind, message, tmp_path):
    for name in ("good", "bad"):
        write_image(tmp_path / f"images/{name}.jpg", color=(len(name), 0, 0))
        write_xml(tmp_path / f"xml/{name}.xml", voc_object("stop"))
    make(tmp_path)
    with pytest.raises(BadFilesError) as caught:
        read_folder(tmp_path / "xml", tmp_path / "images", classes={"stop"})
    (fault,) = caught.value.errors
    line = str(fault)
    assert fault.kind == kind
    assert message in line
    assert "bad." in line and "good" not in line
    assert len(line.splitlines()) == 1 and len(line) < 500 and line.endswith(".")
    assert f"1 unusable file (1 {kind})" in str(caught.value)
    # With --skip-bad the other image is used.
    checked = read_folder(tmp_path / "xml", tmp_path / "images", classes={"stop"}, skip_bad=True)
    assert [annotation.image.name for annotation in checked.annotations] == ["good.jpg"]
