"""Tests `labeling.folder`: objects are written at once, and nothing of others is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Box
from tfod.annotation.voc import read_xml
from tfod.conversion.converter import convert
from tfod.errors import UserError
from tfod.labeling.folder import ChangedError, Content, LabelFolder, State

NEW = Box("cat", 30, 40, 50, 60)


def save(folder: LabelFolder, number: int, version: str, kept: dict, new: list) -> Content:
    return folder.save(number, version, lambda content: (kept, new))


def boxes(xml: Path) -> list[Box]:
    return [item.box for item in read_xml(xml).objects]


def test_states_say_which_images_are_labeled(photos):
    folder = LabelFolder(photos)
    assert folder.names == ("a.jpg", "b.png", "sub/c.jpg")
    assert [folder.state(number) for number in range(len(folder))] == [
        State(True, ("stop", "dog")),
        State(),
        State(),
    ]


def test_objects_are_written_and_read(photos):
    folder = LabelFolder(photos)
    content = folder.read(0)
    assert (content.width, content.height, content.upright, content.undo) == (400, 300, True, 0)
    moved = replace(content.objects[1], xmin=210.0)
    content = save(folder, 0, content.version, {1: moved}, [NEW])
    assert content.objects == {0: moved, 1: NEW}
    assert boxes(photos / "a.xml") == [moved, NEW]
    assert folder.state(0).classes == ("dog", "cat")


def test_first_objects_of_an_image_make_a_file_that_convert_reads(photos, tmp_path):
    folder = LabelFolder(photos, tmp_path / "xml")
    for number in range(3):
        save(folder, number, folder.read(number).version, {}, [NEW])
    assert boxes(tmp_path / "xml" / "sub" / "c.xml") == [NEW]
    data = convert(tmp_path / "xml", photos, tmp_path / "data", split=(1, 0, 0))
    assert data.splits["train"].objects_per_class == {"cat": 3}
    assert not (photos / "b.xml").exists()


def test_no_objects_make_a_negative_image(photos):
    folder = LabelFolder(photos)
    save(folder, 1, "", {}, [])
    assert folder.state(1) == State(True) and boxes(photos / "b.xml") == []


def test_undo_restores_the_file_byte_for_byte(photos):
    before = (photos / "a.xml").read_bytes()
    folder = LabelFolder(photos)
    content = folder.read(0)
    for xmin in (1, 2, 3):
        content = save(folder, 0, content.version, {}, [replace(NEW, xmin=xmin)])
    assert content.undo == 3
    for undo in (2, 1, 0):
        content = folder.undo(0)
        assert content.undo == undo
    assert (photos / "a.xml").read_bytes() == before
    with pytest.raises(ChangedError, match="has no change to take back"):
        folder.undo(0)
    save(folder, 1, "", {}, [NEW])
    assert folder.undo(1).version == "" and not (photos / "b.xml").exists()
    assert folder.state(1) == State()


def test_redo_restores_the_files_of_the_changes_byte_for_byte(photos):
    folder, xml = LabelFolder(photos), photos / "b.xml"
    content, files = folder.read(1), []
    for name in ("cat", "dog", "cow"):
        content = save(folder, 1, content.version, {}, [replace(NEW, name=name)])
        files.append(xml.read_bytes())
    for _ in files:
        folder.undo(1)
    assert not xml.exists() and (folder.read(1).undo, folder.read(1).redo) == (0, 3)
    for number, name in enumerate(("cat", "dog", "cow"), start=1):
        content = folder.redo(1)
        assert (content.undo, content.redo) == (number, 3 - number)
        assert xml.read_bytes() == files[number - 1]
        assert folder.state(1) == State(True, (name,))
    with pytest.raises(ChangedError, match="has no change to make again"):
        folder.redo(1)
    assert folder.undo(1).objects == {0: replace(NEW, name="dog")}


def test_a_new_change_forgets_those_that_were_taken_back(photos):
    folder = LabelFolder(photos)
    content = save(folder, 1, "", {}, [NEW])
    save(folder, 1, content.version, {}, [])
    assert folder.undo(1).redo == 1
    other = save(folder, 0, folder.read(0).version, {}, [])  # of another image
    assert (other.redo, folder.read(1).redo) == (0, 1)
    content = save(folder, 1, content.version, {0: NEW}, [NEW])
    assert (content.undo, content.redo) == (2, 0)
    with pytest.raises(ChangedError, match="has no change to make again"):
        folder.redo(1)


def test_a_change_that_changes_nothing_is_not_taken_back(photos):
    folder = LabelFolder(photos)
    content = folder.read(0)
    content = save(folder, 0, content.version, {1: content.objects[1]}, [])
    folder.undo(0)
    content = folder.read(0)
    content = save(folder, 0, content.version, content.objects, [])
    assert (content.undo, content.redo) == (0, 1)


def test_redo_does_not_overwrite_what_another_program_wrote(photos):
    folder = LabelFolder(photos)
    save(folder, 1, "", {}, [NEW])
    folder.undo(1)
    write_xml(photos / "b.xml", voc_object("other"), size=(400, 300))
    theirs = (photos / "b.xml").read_bytes()
    with pytest.raises(ChangedError, match="was changed by another program"):
        folder.redo(1)
    assert (photos / "b.xml").read_bytes() == theirs


def test_a_file_that_another_program_changed_is_not_overwritten(photos):
    folder = LabelFolder(photos)
    content = folder.read(0)
    content = save(folder, 0, content.version, content.objects, [NEW])
    write_xml(photos / "a.xml", voc_object("other"), size=(400, 300))
    theirs = (photos / "a.xml").read_bytes()
    for change in (
        lambda: save(folder, 0, content.version, {}, []),
        lambda: folder.undo(0),
        lambda: save(folder, 0, "", {}, [NEW]),
    ):
        with pytest.raises(ChangedError, match="was changed by another program"):
            change()
    assert (photos / "a.xml").read_bytes() == theirs


def test_objects_that_cannot_be_read_stay(photos):
    write_xml(photos / "b.xml", voc_object("dog"), "<object><name>blob</name><polygon/></object>")
    xml = (photos / "b.xml").read_text().replace("40</width>", "400</width>")
    (photos / "b.xml").write_text(xml.replace("30</height>", "300</height>"))
    folder = LabelFolder(photos)
    save(folder, 1, folder.read(1).version, {}, [NEW])
    text = (photos / "b.xml").read_text()
    assert "<object><name>blob</name><polygon/></object>" in text and "dog" not in text


@pytest.mark.parametrize(
    ("xml", "fault"),
    [
        ("<annotation><size><width>40</width><height>30</height></size></annotation>", "40 x 30"),
        ("<annotation><object>", "is not well-formed XML"),
        ("<svg/>", "its root is 'svg'"),
    ],
)
def test_a_file_with_a_fault_is_not_changed(photos, xml, fault):
    (photos / "b.xml").write_text(xml)
    folder = LabelFolder(photos)
    content = folder.read(1)
    assert fault in content.fault and folder.state(1).labeled
    with pytest.raises(UserError, match="Correct the file first"):
        save(folder, 1, content.version, {}, [NEW])
    assert (photos / "b.xml").read_text() == xml


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_drawn_on_the_upright_image(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    write_image(tmp_path / "photo.jpg", size=(40, 30), exif=exif)
    upright = (30, 40) if orientation >= 5 else (40, 30)
    content = LabelFolder(tmp_path).read(0)
    assert ((content.width, content.height), content.upright) == (upright, True)
    folder = LabelFolder(tmp_path)
    save(folder, 0, "", {}, [Box("dog", 1, 2, 20, 29)])
    assert read_xml(tmp_path / "photo.xml").size == upright
    # Boxes that another tool has drawn on the stored pixels stay there.
    write_xml(tmp_path / "photo.xml", voc_object(), size=(40, 30))
    content = LabelFolder(tmp_path).read(0)
    assert (content.width, content.height) == (40, 30)
    assert content.upright == (orientation < 5)


def test_bad_folders_are_reported(tmp_path, photos):
    with pytest.raises(UserError, match="is not a folder"):
        LabelFolder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no images"):
        LabelFolder(tmp_path / "empty")
    write_image(photos / "a.png")
    with pytest.raises(UserError, match=r"a\.xml: would be the annotation file of 2 images"):
        LabelFolder(photos)
