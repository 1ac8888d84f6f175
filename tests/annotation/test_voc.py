"""Tests `voc` and `raw_annotation`: reading one file, finding its image, and all faults."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from unicodedata import normalize

import pytest
from PIL import Image

from helpers.limits import scaled
from helpers.voc_files import LAUGHS, voc_object, write_image, write_xml
from tfod.annotation import Box
from tfod.annotation.raw_annotation import check_annotation
from tfod.annotation.voc import read_xml
from tfod.errors import BadFilesError
from tfod.image_files import list_files, list_images


@pytest.fixture
def read(tmp_path):
    """A function that reads and checks tmp_path/xml/NAME with the images in tmp_path/images."""

    def read(name: str = "a.xml", **options):
        xml = tmp_path / "xml" / name
        raw = read_xml(xml, tmp_path / "xml")
        return check_annotation(raw, list_images(tmp_path / "images"), **options)

    return read


@pytest.fixture
def faults(read):
    """A function that returns the faults of tmp_path/xml/a.xml as (kind, message) pairs."""

    def faults(**options) -> list[tuple[str, str]]:
        with pytest.raises(BadFilesError) as caught:
            read(**options)
        return [(error.kind, str(error)) for error in caught.value.errors]

    return faults


def test_floats_whitespace_and_optional_tags_are_read(tmp_path, read):
    image = write_image(tmp_path / "images/a.jpg")
    tags = "<pose> Left </pose><truncated>1</truncated><difficult>0</difficult>"
    write_xml(
        tmp_path / "xml/a.xml",
        voc_object("  stop\n ", ("1.0", "2.5", " 11 ", "12.25"), tags),
        voc_object("traffic  light", (0, 0, 40, 30)),
    )
    annotation = read()
    assert (annotation.image, annotation.width, annotation.height) == (image, 40, 30)
    assert annotation.objects == (
        Box("stop", 1.0, 2.5, 11.0, 12.25, difficult=False, truncated=True, pose="Left"),
        Box("traffic light", 0, 0, 40, 30),
    )
    assert annotation.rotate is False


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_is_accepted(tmp_path, read, encoding):
    write_image(tmp_path / "images/a.jpg")
    xml = write_xml(tmp_path / "xml/a.xml", voc_object("зебра"))
    xml.write_text(xml.read_text(encoding="utf-8"), encoding=encoding)
    assert read().objects[0].name == "зебра"


def test_comments_and_parts_are_ignored(tmp_path, read):
    write_image(tmp_path / "images/a.jpg")
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    write_xml(tmp_path / "xml/a.xml", voc_object("st<!-- no -->op", tags=part))
    assert [box.name for box in read().objects] == ["stop"]


def test_annotation_without_objects_is_read(tmp_path, read):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml")
    assert read().objects == ()


@pytest.mark.parametrize("size", [None, (0, 0), ("", ""), (0, 30)])
def test_missing_size_is_taken_from_the_image(tmp_path, read, size):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", size=size)
    assert (read().width, read().height) == (40, 30)


def test_box_up_to_one_pixel_outside_is_clipped(tmp_path, read):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", voc_object(box=(-1, -0.5, 41, 31)))
    assert read().objects == (Box("stop", 0, 0, 40, 30),)


@pytest.mark.parametrize(
    "filename",
    [
        "a.jpg",
        "A.jpg/a.JPG",
        "a.png",
        "a",
        "C:\\Users\\me\\a.jpg",
        "/home/me/a.jpeg",
        "another-name.jpg",
        "",
    ],
)
def test_image_is_found_by_name_other_suffix_or_xml_name(tmp_path, read, filename):
    image = write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", filename=filename)
    assert read().image == image


def test_suffix_selects_among_images_of_the_same_stem(tmp_path, read):
    for suffix in ("jpg", "png", "BMP"):
        write_image(tmp_path / f"images/a.{suffix}")
        write_xml(tmp_path / f"xml/{suffix}.xml", filename=f"a.{suffix.lower()}")
        assert read(f"{suffix}.xml").image.name == f"a.{suffix}"


def test_filename_tag_takes_precedence_over_the_xml_name(tmp_path, read):
    write_image(tmp_path / "images/a.jpg")
    other = write_image(tmp_path / "images/deep/sign.v2.jpg")
    write_xml(tmp_path / "xml/a.xml", filename="sign.v2")
    assert read().image == other


def test_file_name_may_contain_spaces(tmp_path, read):
    image = write_image(tmp_path / "images/my  sign .jpg")
    write_image(tmp_path / "images/my sign .jpg")
    write_xml(tmp_path / "xml/a.xml", filename=" my  sign .jpg\n")
    assert read().image == image


def test_image_in_the_same_subfolder_is_preferred(tmp_path, read):
    for folder in ("day", "night"):
        write_image(tmp_path / "images" / folder / "a.jpg")
        write_xml(tmp_path / "xml" / folder / "a.xml")
    assert read("night/a.xml").image == tmp_path / "images/night/a.jpg"
    write_xml(tmp_path / "xml/a.xml")
    with pytest.raises(BadFilesError) as caught:
        read("a.xml")
    assert str(caught.value.errors[0]) == (
        f"{tmp_path}/xml/a.xml: matches several images: day/a.jpg, night/a.jpg. "
        "Remove or rename all but one."
    )
    assert caught.value.errors[0].kind == "image ambiguous"


@pytest.mark.parametrize("filename", ["../secret.jpg", "..\\secret.jpg", "secret.jpg", ".."])
def test_filename_cannot_refer_to_a_file_outside_the_folder(tmp_path, faults, filename):
    write_image(tmp_path / "secret.jpg")
    write_image(tmp_path / "images/other.jpg")
    write_xml(tmp_path / "xml/a.xml", filename=filename)
    assert [kind for kind, _ in faults()] == ["image missing"]


def test_etc_passwd_is_reported_as_missing_image(tmp_path, faults):
    write_xml(tmp_path / "xml/a.xml", filename="../../etc/passwd")
    (tmp_path / "images").mkdir()
    assert faults() == [
        (
            "image missing",
            f"{tmp_path}/xml/a.xml: no image 'passwd' in {tmp_path}/images. "
            "Add the image, or remove its annotation.",
        )
    ]


BOX = "object 1 'stop'"


@pytest.mark.parametrize(
    ("objects", "size", "kind", "what"),
    [
        ([voc_object(box=(1, 2, 42, 12))], (40, 30), "box outside",
         f"{BOX} at 1, 2, 42, 12 extends outside the image of 40 x 30"),
        ([voc_object(box=(-2, 2, 9, 12))], (40, 30), "box outside",
         f"{BOX} at -2, 2, 9, 12 extends outside the image of 40 x 30"),
        ([voc_object(box=(40, 2, 41, 12))], (40, 30), "box without area",
         f"{BOX} at 40, 2, 41, 12 is beyond the edge of the image of 40 x 30"),
        ([voc_object(box=(11, 2, 1, 12))], (40, 30), "box without area",
         f"{BOX} extends from x 11 to 1 and from y 2 to 12"),
        ([voc_object(box=(1, 2, 11, 2))], (40, 30), "box without area",
         f"{BOX} extends from x 1 to 11 and from y 2 to 2"),
        ([voc_object(box=("ten", 2, 11, 12))], (40, 30), "bad coordinate",
         f"<xmin> of {BOX} is 'ten'"),
        ([voc_object(box=(1, "", 11, 12))], (40, 30), "bad coordinate", f"<ymin> of {BOX} is ''"),
        ([voc_object(box=(1, 2, "nan", 12))], (40, 30), "bad coordinate",
         f"<xmax> of {BOX} is 'nan'"),
        ([voc_object(box=(1, 2, 11, "1e999"))], (40, 30), "bad coordinate",
         f"<ymax> of {BOX} is '1e999'"),
        ([voc_object(name=" ")], (40, 30), "not VOC", "object 1 has no <name>"),
        (["<object><name>stop</name></object>"], (40, 30), "not VOC", f"{BOX} has no <bndbox>"),
        ([voc_object(tags="<difficult>maybe</difficult>")], (40, 30), "bad value",
         f"<difficult> of {BOX} is 'maybe'"),
        ([], (30, 40), "size differs", "the annotated size is 30 x 40, but the image is 40 x 30"),
        ([], ("wide", 30), "bad value", "<width> of its <size> is 'wide'"),
        ([voc_object(name="tram")], (40, 30), "unknown class",
         "class 'tram' of object 1 is not in the label map"),
    ],
)  # fmt: skip
def test_fault_is_reported(tmp_path, faults, objects, size, kind, what):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", *objects, size=size)
    reported = faults(classes=["stop"])
    assert [kind for kind, _ in reported] == [kind]
    assert reported[0][1].startswith(f"{tmp_path}/xml/a.xml: {what}. ")


BNDBOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (f"<objects>{voc_object()}</objects>", "has objects in the element 'objects'"),
        (voc_object().replace("object>", "OBJECT>"), "has objects in the element 'OBJECT'"),
        (voc_object() + f"<Object><name>stop</name>{BNDBOX}</Object>", "in the element 'Object'"),
        (f"<outputs><object><item>{BNDBOX}</item></object></outputs>", "in the element 'outputs'"),
        ("<item><BndBox><Xmin>1</Xmin></BndBox></item>", "has objects in the element 'item'"),
        (BNDBOX, "has objects in the element 'bndbox'"),
        ("<box><xmin>1</xmin></box>", "has objects in the element 'box'"),
        ("<x:object xmlns:x='urn:x'/>", "has objects in the element 'object'"),
        (f"<object><name>stop</name>{BNDBOX * 2}</object>", f"{BOX} has 2 <bndbox>"),
        ("<object/>", "object 1 has no <name>"),
    ],
)
def test_xml_with_boxes_that_are_not_read_is_refused(tmp_path, faults, body, what):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", body)
    kind, message = faults()[0]
    assert kind == "not VOC"
    assert what in message


@pytest.mark.parametrize("body", ["<weather>rain</weather>", "<meta><tag>x</tag></meta>"])
def test_other_elements_are_ignored(tmp_path, read, body):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", body, voc_object())
    assert len(read().objects) == 1


def test_filename_that_differs_from_the_name_of_the_xml_is_noticed(tmp_path, read):
    for name in ("a.jpg", "b.jpg", "c.png", "cam1/a.jpg", "cam2/a.jpg"):
        write_image(tmp_path / "images" / name)
    for xml, filename, fixes in (
        ("a.xml", "b.jpg", ("name differs",)),
        ("a.xml", "a.jpg", ()),
        ("a.xml", "gone.jpg", ()),
        ("c.xml", "c.jpg", ()),
        ("c.xml", "C:\\images\\c.jpg", ()),
        ("d.xml", "b.jpg", ()),
        ("cam1/a.xml", "cam2/a.jpg", ("name differs",)),
        ("cam1/a.xml", "cam1/a.jpg", ()),
    ):
        write_xml(tmp_path / "xml" / xml, filename=filename)
        annotation = read(xml)
        assert annotation.fixes == fixes, (xml, filename)
        assert not fixes or annotation.source_id == filename


def test_all_faults_of_a_file_are_reported(tmp_path, faults):
    (tmp_path / "images").mkdir()
    write_xml(
        tmp_path / "xml/a.xml",
        voc_object(box=(5, 2, 1, 12)),
        voc_object(box=("x", "y", 3, 4)),
        voc_object("tram"),
    )
    assert [kind for kind, _ in faults(classes=["stop"])] == [
        "bad coordinate",
        "bad coordinate",
        "image missing",
        "box without area",
        "unknown class",
    ]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "broken XML"),
        (b"<annotation><filename>a.jpg</filename>", "broken XML"),
        (b"\x89PNG\r\n", "broken XML"),
        ("<annotation><name>\u00e9</name></annotation>".encode("latin-1"), "broken XML"),
        (b"<?xml version='1.0' encoding='klingon'?><annotation/>", "broken XML"),
        (b"<a>" * 100_000, "broken XML"),
        (b"<annotation>" + b" " * (5 << 20) + b"</annotation>", "broken XML"),
        (b"<kml><annotation/></kml>", "not VOC"),
    ],
)
def test_file_that_is_not_voc_is_reported(tmp_path, faults, content, kind):
    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml").write_bytes(content)
    assert [kind for kind, _ in faults()] == [kind]


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE annotation>",
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/voc.dtd">',
        '<!DOCTYPE annotation [<!ENTITY x SYSTEM "{secret}">]>',
        '<!DOCTYPE annotation [<!ENTITY % x SYSTEM "{secret}"> %x;]>',
        f'<!DOCTYPE annotation [{LAUGHS}<!ENTITY x "&l11;">]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("body", ["<name>&x;</name>", '<name a="&x;">stop</name>'])
def test_doctype_is_refused_without_expanding_entities(tmp_path, faults, doctype, encoding, body):
    secret = tmp_path / "secret.txt"
    secret.write_text("very secret")
    write_image(tmp_path / "images/a.jpg")
    text = f"{doctype.format(secret=secret)}<annotation><object>{body}</object></annotation>"
    write_xml(tmp_path / "xml/a.xml").write_text(text, encoding=encoding)
    started = time.process_time()
    [(kind, message)] = faults()
    assert kind == "broken XML"
    assert "very secret" not in message
    assert time.process_time() - started < scaled(2)


def test_messages_are_short_and_without_control_characters(tmp_path, faults):
    write_xml(tmp_path / "xml/a.xml", filename="\x9b31m" + "x" * 5000)
    (tmp_path / "images").mkdir()
    [(_, message)] = faults()
    assert message.isprintable()
    assert len(message) < 300 + 2 * len(str(tmp_path))


def test_damaged_image_is_reported_with_the_image_path(tmp_path, faults):
    image = write_image(tmp_path / "images/a.jpg", size=(400, 300))
    image.write_bytes(image.read_bytes()[:-200])
    write_xml(tmp_path / "xml/a.xml", size=(400, 300))
    [(kind, message)] = faults()
    assert kind == "image unreadable"
    assert message.startswith(f"{image}: cannot be decoded: image file is truncated")


UNCLEAR = ("orientation unclear",)


@pytest.mark.parametrize(
    ("orientation", "stored", "size", "exif", "rotate", "fixes"),
    [
        (6, (40, 30), (40, 30), None, False, ()),  # drawn in a tool that ignores EXIF data
        (6, (40, 30), (30, 40), None, True, ()),
        (6, (40, 30), (40, 30), "apply", False, ()),  # the size shows it
        (6, (40, 30), (30, 40), "ignore", True, ()),
        (6, (40, 30), None, None, True, UNCLEAR),
        (6, (40, 30), None, "apply", True, ()),
        (6, (40, 30), None, "ignore", False, ()),
        (3, (40, 30), (40, 30), None, True, UNCLEAR),
        (3, (40, 30), (40, 30), "apply", True, ()),
        (3, (40, 30), (40, 30), "ignore", False, ()),
        (2, (40, 30), (40, 30), None, True, UNCLEAR),
        (8, (30, 30), (30, 30), None, True, UNCLEAR),
        (8, (30, 30), (30, 30), "ignore", False, ()),
        (1, (40, 30), None, None, False, ()),
    ],
)
def test_exif_orientation_applies_unless_size_or_option_show_otherwise(
    tmp_path, read, orientation, stored, size, exif, rotate, fixes
):
    data = Image.Exif()
    data[0x0112] = orientation
    write_image(tmp_path / "images/a.jpg", stored, exif=data)
    write_xml(tmp_path / "xml/a.xml", voc_object(), size=size)
    annotation = read(exif=exif)
    assert (annotation.rotate, annotation.fixes) == (rotate, fixes)
    is_upright = rotate and orientation >= 5
    assert (annotation.width, annotation.height) == (stored[::-1] if is_upright else stored)


def test_name_in_another_unicode_form_is_the_same_class(tmp_path, read):
    write_image(tmp_path / "images/a.jpg")
    for form in ("NFC", "NFD"):
        write_xml(tmp_path / "xml/a.xml", voc_object(normalize(form, "café")))
        (box,) = read(classes={"caf\u00e9"}).objects
        assert box.name == "caf\u00e9"


def test_files_are_listed_in_a_fixed_order_without_hidden_ones(tmp_path, monkeypatch):
    for name in ("b.xml", "a/z.XML", "a.xml", ".hidden/c.xml", "__MACOSX/._a.xml", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = list_files(tmp_path, (".xml",))
    assert [str(path.relative_to(tmp_path)) for path in listed] == ["a/z.XML", "a.xml", "b.xml"]
    scandir = os.scandir

    @contextmanager
    def backwards(folder):
        with scandir(folder) as entries:
            yield reversed(list(entries))

    monkeypatch.setattr("tfod.image_files.os.scandir", backwards)
    assert list_files(tmp_path, (".xml",)) == listed
