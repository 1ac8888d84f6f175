"""Tests undo and redo in the page of `tfod label`."""

from __future__ import annotations

import pytest

from browser import CHROMIUM
from helpers.label_page import wait_for_boxes
from tfod.annotation import Box

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


UNDO = ("z", 2)  # a key and its modifiers
REDO = (("Z", 2 + 8), ("y", 2))


def test_changes_are_undone_and_redone(opened, photos):
    xml = photos / "b.xml"
    with opened(photos, image=1) as label:
        label.key("1")
        label.draw((50, 60), (150, 200))
        label.wait_for_status("Saved: b.png: new stop")
        label.drag((100, 130), (140, 150))
        label.wait_for_status("Saved: b.png: moved stop")
        label.key("2")
        label.wait_for_status("Saved: b.png: stop is now dog")
        label.key("Delete")
        label.wait_for_status("Saved: b.png: deleted dog")
        steps = [
            ("new stop", [Box("stop", 50, 60, 150, 200)]),
            ("moved stop", [Box("stop", 90, 80, 190, 220)]),
            ("stop is now dog", [Box("dog", 90, 80, 190, 220)]),
            ("deleted dog", []),
        ]
        for redo in REDO:
            for index in (3, 2, 1):
                label.key(*UNDO)
                label.wait_for_status(f"Undone: b.png: {steps[index][0]}")
                assert label.boxes() == steps[index - 1][1]
                wait_for_boxes(label, xml, steps[index - 1][1])
            label.key(*UNDO)
            label.wait_for_status("Undone: b.png: new stop")
            assert label.boxes() == [] and not xml.exists()
            assert label.text("progress") == "1 of 3 labeled"
            assert label.is_enabled("redo") and not label.is_enabled("undo")
            label.key(*UNDO)
            label.wait_for_status("Nothing to undo")
            for what, boxes in steps:
                label.key(*redo)
                label.wait_for_status(f"Redone: b.png: {what}")
                assert label.boxes() == boxes
                wait_for_boxes(label, xml, boxes)
                assert label.text("progress") == "2 of 3 labeled"
            assert label.is_enabled("undo") and not label.is_enabled("redo")
            label.key(*redo)
            label.wait_for_status("Nothing to redo")


def test_a_new_change_after_undo_leaves_nothing_to_redo(opened, photos):
    with opened(photos) as label:
        label.wait_for_objects(2)
        label.click(60, 70)
        label.key("Delete")
        label.wait_for_status("deleted stop")
        label.key(*UNDO)
        label.wait_for_status("Undone: a.jpg: deleted stop")
        assert label.is_enabled("redo")
        label.click(220, 55)
        label.key("ArrowDown")
        label.wait_for_status("moved dog")
        assert not label.is_enabled("redo")
        label.key(*REDO[0])
        label.wait_for_status("Nothing to redo")
        expected = [Box("stop", 10, 20, 110, 120), Box("dog", 200, 31, 240, 81)]
        wait_for_boxes(label, photos / "a.xml", expected)


def test_redo_goes_on_after_another_image_and_a_new_page(opened, photos):
    with opened(photos) as label:
        label.wait_for_objects(2)
        label.click(60, 70)
        label.key("Delete")
        label.wait_for_status("deleted stop")
        label.key(*UNDO)
        label.wait_for_status("Undone")
        label.key("d")
        label.wait_for_image(1)
        assert not label.is_enabled("undo") and not label.is_enabled("redo")
        label.key("a")
        label.wait_for_image(0)
        label.page.value("document.getElementById('redo').click()")
        label.wait_for_status("Redone: a.jpg: deleted stop")
        label.page.value("document.before = true")
        label.page.send("Page.reload")
        label.page.wait_for("!document.before && document.readyState === 'complete'")
        label.wait_for_image(0)
        label.key(*UNDO)
        label.wait_for_status("Undone: a.jpg: stop, dog")
        label.key(*REDO[1])
        label.wait_for_status("Redone: a.jpg: dog")
        wait_for_boxes(label, photos / "a.xml", [Box("dog", 200, 30, 240, 80)])


def test_keys_that_are_faster_than_the_server_keep_their_order(opened, photos):
    dog = Box("dog", 200, 30, 240, 80)
    with opened(photos) as label:
        label.wait_for_objects(2)
        label.click(60, 70)
        for key, what in (
            ("2", "stop is now dog"),
            ("1", "dog is now stop"),
            ("ArrowDown", "moved stop"),
            ("Delete", "deleted stop"),
        ):
            label.key(key)
            label.wait_for_status(f"Saved: a.jpg: {what}")
        label.slow_down_network()
        redo = REDO[1]
        for key in (UNDO, redo, UNDO, UNDO, redo, UNDO, UNDO, UNDO):
            label.key(*key)
        label.wait_for_status("Undone: a.jpg: stop is now dog")
        assert label.boxes() == [Box("stop", 10, 20, 110, 120), dog]
        for _ in range(4):
            label.key(*redo)
        label.wait_for_status("Redone: a.jpg: deleted stop")
        wait_for_boxes(label, photos / "a.xml", [dog])


def test_a_change_before_the_answer_to_undo_is_not_lost_silently(opened, photos):
    both = [Box("stop", 10, 20, 110, 120), Box("dog", 200, 30, 240, 80)]
    with opened(photos) as label:
        label.wait_for_objects(2)
        label.click(60, 70)
        label.key("2")
        label.wait_for_status("stop is now dog")
        label.slow_down_network()
        label.key(*UNDO)
        label.key("Delete")
        label.wait_for_status("Not saved: deleted dog. Undo or redo was not complete")
        assert label.boxes() == both
        label.click(60, 70)
        label.key("Delete")
        label.wait_for_status("Saved: a.jpg: deleted stop")
        wait_for_boxes(label, photos / "a.xml", both[1:])


def test_undo_deletes_a_box_that_has_no_class_yet(opened, photos):
    with opened(photos, image=1) as label:
        label.draw((200, 60), (300, 200))
        label.wait_for_status("Choose the class of this box")
        label.page.value("document.getElementById('class').focus()")
        label.page.send("Input.insertText", text="ca")
        label.key(*UNDO)  # of the text
        label.wait_for_objects(1)
        label.page.value("document.getElementById('class').value = ''")
        label.key("Z", 2)  # Caps Lock
        label.wait_for_status("Deleted the box without class")
        label.wait_for_objects(0)
        assert not (photos / "b.xml").exists()
        label.key("d")
        label.wait_for_image(2)
