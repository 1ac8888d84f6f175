"""Tests the page of `tfod label` in headless Chromium: mouse, keys and touch, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from browser import CHROMIUM, browser
from helpers.label_page import Label, wait_for_boxes
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Box
from tfod.annotation.voc import read_xml
from tfod.detection.detector import Detector
from tfod.errors import UserError

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


def test_a_box_is_drawn_moved_renamed_deleted_and_restored(opened, photos):
    xml = photos / "b.xml"
    with opened(photos, image=1) as label:
        label.draw((50, 60), (150, 200))
        label.wait_for_status("Choose the class of this box")
        label.page.value("document.getElementById('class').focus()")
        label.type("traffic light")
        drawn = Box("traffic light", 50, 60, 150, 200)
        wait_for_boxes(label, xml, [drawn])
        label.click(100, 130)
        label.drag((100, 130), (140, 150))
        moved = Box("traffic light", 90, 80, 190, 220)
        wait_for_boxes(label, xml, [moved])
        label.key("1")  # of the classes stop, dog, traffic light
        renamed = Box("stop", 90, 80, 190, 220)
        wait_for_boxes(label, xml, [renamed])
        label.wait_for_status("Saved: b.png: traffic light is now stop")
        label.page.value("document.querySelector('#objects input').click()")
        wait_for_boxes(label, xml, [Box("stop", 90, 80, 190, 220, difficult=True)])
        label.key("Delete")
        wait_for_boxes(label, xml, [])
        label.wait_for_status("Saved")
        for expected in (Box("stop", 90, 80, 190, 220, difficult=True), renamed, moved, drawn):
            label.key("z", modifiers=2)
            wait_for_boxes(label, xml, [expected])
        label.key("z", modifiers=2)
        label.wait_for_objects(0)
        assert not xml.exists()


def test_an_edge_is_dragged_and_the_rest_of_the_file_stays(opened, photos):
    before = (photos / "a.xml").read_text()
    with opened(photos) as label:
        label.wait_for_objects(2)
        label.click(60, 70)
        corner = label.at(110, 120)
        label.page.wait_for(
            f"!!document.elementFromPoint({corner['x']}, {corner['y']})"
            ".closest('.a9s-corner-handle-bottomright')"
        )
        label.drag((110, 120), (150, 160))
        moved = Box("stop", 10, 20, 150, 160), Box("dog", 200, 30, 240, 80)
        wait_for_boxes(label, photos / "a.xml", list(moved))
        label.wait_for_status("Saved")
    after = (photos / "a.xml").read_text()
    assert len(after.splitlines()) == len(before.splitlines())
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(changed) == 1  # the edges of one object are on one line


def test_touch_draws_a_box(opened, photos):
    with opened(photos, image=1) as label:
        label.page.send("Emulation.setTouchEmulationEnabled", enabled=True)
        label.key("2")
        label.key("w")
        label.touch_drag((40, 50), (200, 250))
        wait_for_boxes(label, photos / "b.xml", [Box("dog", 40, 50, 200, 250)])


def test_boxes_of_the_previous_image_are_copied(opened, photos):
    with opened(photos) as label:
        label.wait_for_objects(2)
        label.key("d")
        label.wait_for_image(1)
        label.key("c")
        expected = [Box("stop", 10, 20, 110, 120), Box("dog", 200, 30, 240, 80)]
        wait_for_boxes(label, photos / "b.xml", expected)
        label.key("d")
        label.wait_for_image(2)
        label.key("d")
        label.wait_for_status("This is the last image of the list")
        label.key("n")
        wait_for_boxes(label, photos / "sub" / "c.xml", [])
        label.wait_for_status("Saved")
        assert label.page.value("document.getElementById('progress').textContent") == (
            "3 of 3 labeled"
        )
        label.key("d")
        label.wait_for_status("All images are labeled")
        label.key("a")
        label.wait_for_image(1)
        label.wait_for_objects(2)


def test_keys_work_after_a_click_on_the_list(opened, photos):
    with opened(photos) as label:
        label.page.value(
            "(() => { const row = document.querySelector('.row[data-number=\"1\"]');"
            "row.focus(); row.click(); })()"
        )
        label.wait_for_image(1)
        label.key("1")
        label.draw((40, 50), (200, 250))
        wait_for_boxes(label, photos / "b.xml", [Box("stop", 40, 50, 200, 250)])


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_rotated_photo_is_shown_upright(opened, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    write_image(tmp_path / "photo.jpg", size=(400, 300), exif=exif)
    size = (300, 400) if orientation >= 5 else (400, 300)
    with opened(tmp_path) as label:
        assert label.page.value(
            "(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])"
            "(document.getElementById('image'))"
        ) == list(size)
        label.draw((20, 30), (size[0] - 10, size[1] - 5))
        label.page.wait_for("document.activeElement.id === 'class'")
        label.type("all")
        expected = Box("all", 20, 30, size[0] - 10, size[1] - 5)
        wait_for_boxes(label, tmp_path / "photo.xml", [expected])


def test_copies_are_those_of_the_list_and_not_twice(opened, photos):
    """Not those of the image that was shown before."""
    write_xml(photos / "b.xml", voc_object("dog", (1, 2, 30, 40)), size=(400, 300))
    with opened(photos, image=2) as label:
        label.key("a")
        label.wait_for_image(1)
        label.key("c")
        label.wait_for_status("Saved: b.png: copied stop, dog")
        first = Box("dog", 1, 2, 30, 40)
        copied = [first, Box("stop", 10, 20, 110, 120), Box("dog", 200, 30, 240, 80)]
        wait_for_boxes(label, photos / "b.xml", copied)
        label.key("c")
        label.wait_for_status("Nothing to copy from a.jpg")
        wait_for_boxes(label, photos / "b.xml", copied)
        label.key("a")
        label.wait_for_image(0)
        label.key("c")
        label.wait_for_status("This is the first image of the list")


def test_a_box_without_class_is_not_lost(opened, photos):
    with opened(photos, image=1) as label:
        label.draw((50, 60), (150, 200))
        label.wait_for_status("Choose the class of this box")
        for leave in (
            lambda: label.key("d"),
            lambda: label.page.value("document.getElementById('next').click()"),
            lambda: label.page.value("document.querySelector('.row').click()"),
        ):
            label.click(300, 250)  # deselects it
            label.page.value("document.getElementById('status').textContent = ''")
            leave()
            label.wait_for_status("This box has no class")
            assert label.page.value("location.hash") == "#1"
        label.key("2")
        wait_for_boxes(label, photos / "b.xml", [Box("dog", 50, 60, 150, 200)])
        label.key("d")
        label.wait_for_image(2)
        label.key("7")
        label.wait_for_status("No class has the number 7")


def test_an_image_that_is_not_saved_stays_open(opened, photos):
    with opened(photos, image=1) as label:
        label.key("1")
        label.page.send("Network.setBlockedURLs", urls=["*/api/objects/*"])
        label.draw((50, 60), (150, 200))
        label.wait_for_status("Not saved: tfod label does not answer")
        label.page.value("document.getElementById('status').textContent = ''")
        label.key("d")
        label.wait_for_status("Not saved: tfod label does not answer")
        assert label.page.value("location.hash") == "#1"
        assert not (photos / "b.xml").exists()
        label.page.send("Network.setBlockedURLs", urls=[])
        label.key("d")
        label.wait_for_image(2)
        wait_for_boxes(label, photos / "b.xml", [Box("stop", 50, 60, 150, 200)])


def test_a_click_with_the_tool_explains_it(opened, photos):
    with opened(photos, image=1) as label:
        label.key("w")
        label.click(100, 100)
        label.wait_for_status("Drag from one corner of the object")
        label.key("w")  # does not put the tool away
        label.key("1")
        label.drag((50, 60), (150, 200))
        wait_for_boxes(label, photos / "b.xml", [Box("stop", 50, 60, 150, 200)])


def test_suggestions_are_accepted(opened, photos):
    outputs = {
        "detection_boxes": np.array([[[0.1, 0.2, 0.5, 0.4], [0.6, 0.6, 0.9, 0.9]]], np.float32),
        "detection_scores": np.array([[0.9, 0.3]], np.float32),
        "detection_classes": np.array([[1, 2]], np.float32),
        "num_detections": np.array([2], np.float32),
    }
    detector = Detector({1: "dog", 2: "cat"}, lambda pixels: outputs, threshold=0.5)
    with opened(photos, detector, image=1) as label:
        label.wait_for_objects(1)  # the other one is below the threshold
        assert not (photos / "b.xml").exists()
        label.page.value(
            "(() => { const slider = document.getElementById('threshold'); slider.value = 20;"
            "slider.dispatchEvent(new Event('input')); })()"
        )
        label.wait_for_objects(2)
        label.key("Enter")
        expected = [Box("dog", 80, 30, 160, 150), Box("cat", 240, 180, 360, 270)]
        wait_for_boxes(label, photos / "b.xml", expected)


def test_an_image_stays_if_the_detector_fails(serve, photos):
    def fail(pixels):
        raise UserError("model.tflite", "cannot be run", "Use another one")

    detector = Detector({1: "dog"}, fail, threshold=0.5)
    with serve(photos, detector) as url, browser("--window-size=1400,900") as page:
        label = Label(page, url, image=1)
        label.wait_for_status("model.tflite: cannot be run")
        label.key("1")
        label.draw((50, 60), (150, 200))
        label.wait_for_status("Saved: b.png: new dog")
        assert page.value("document.getElementById('image').naturalWidth") == 400


def test_a_change_by_another_program_is_shown(opened, photos):
    with opened(photos) as label:
        label.wait_for_objects(2)
        write_xml(photos / "a.xml", voc_object("other", (1, 2, 30, 40)), size=(400, 300))
        label.click(60, 70)
        label.key("Delete")
        label.wait_for_status("was changed by another program")
        assert [item.box.name for item in read_xml(photos / "a.xml").objects] == ["other"]


def test_ten_thousand_images_are_listed(opened, tmp_path):
    write_image(tmp_path / "0.png")
    for number in range(1, 10_000):
        (tmp_path / f"{number:05}.png").hardlink_to(tmp_path / "0.png")
    with opened(tmp_path) as label:
        assert label.page.value("document.getElementById('progress').textContent") == (
            "0 of 10000 labeled"
        )
        assert label.page.value("document.querySelectorAll('.row').length") < 50
        label.page.value("document.getElementById('rows').scrollTo(0, 1e9)")
        label.page.wait_for("!!document.querySelector('.row[data-number=\"9999\"]')")


def test_a_page_that_loads_at_once_shows_its_image(serve, photos):
    """Annotorious' undo throws an error at an edit in the first 250 ms of a page."""
    with serve(photos) as url, browser("--window-size=1400,900") as page:
        page.send("Page.addScriptToEvaluateOnNewDocument", source="performance.now = () => 1")
        Label(page, url).wait_for_objects(2)


def test_a_page_that_cannot_load_says_why(serve, photos):
    with serve(photos) as url, browser() as page:
        page.send("Network.setBlockedURLs", urls=["*/api/images"])
        page.send("Page.navigate", url=url)
        page.wait_for("document.getElementById('status').textContent.includes('not answer')")


def test_a_box_that_ends_outside_of_the_image_is_cut_off(opened, photos):
    width, height = Image.open(photos / "b.png").size
    with opened(photos, image=1) as label:
        label.key("1")
        label.draw((50, 60), (width + 40, height + 20))
        wait_for_boxes(label, photos / "b.xml", [Box("stop", 50, 60, width, height)])
        label.draw((40, 50), (-30, -20))
        expected = [Box("stop", 50, 60, width, height), Box("stop", 0, 0, 40, 50)]
        wait_for_boxes(label, photos / "b.xml", expected)


def test_arrows_move_the_selected_box_inside_the_image(opened, photos):
    with opened(photos, image=1) as label:
        label.key("2")
        label.key("W")  # Caps Lock
        label.drag((1, 50), (100, 150))
        for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowDown", "ArrowDown"):
            label.key(key)
        wait_for_boxes(label, photos / "b.xml", [Box("dog", 0, 53, 99, 153)])


def test_a_key_does_not_overtake_the_box_before_it(opened, photos):
    with opened(photos, image=1) as label:
        label.key("1")
        label.key("w")
        label.page.wait_for("document.getElementById('stage').classList.contains('drawing')")
        label.page.wait_for("document.querySelector('.a9s-rubberband') !== null")
        # Time stands still, as on a page that is too busy for its timers.
        label.page.send("Emulation.setVirtualTimePolicy", policy="pause")
        label.drag((50, 60), (150, 200))
        label.key("d")
        label.page.send("Emulation.setVirtualTimePolicy", policy="advance")
        label.page.wait_for("location.hash === '#2'")
        wait_for_boxes(label, photos / "b.xml", [Box("stop", 50, 60, 150, 200)])
        assert not (photos / "sub" / "c.xml").exists()


def test_classes_keep_their_keys_and_colors(opened, photos):
    classes = "[...document.querySelectorAll('#classes li')].map((row) => row.textContent)"
    with opened(photos, image=2) as label:
        for name, image in (("zebra", 2), ("ape", 1)):
            if image == 1:
                label.key("a")
                label.wait_for_image(1)
            label.page.value("document.getElementById('class').focus()")
            label.type(name)
            label.draw((20, 20), (90, 90))
            label.wait_for_status(f": new {name}")
        expected = ["1  stop", "2  dog", "3  zebra", "4  ape"]
        assert label.page.value(classes) == expected
        label.page.value("document.before = true")
        label.page.send("Page.reload")
        label.page.wait_for("!document.before && document.readyState === 'complete'")
        label.wait_for_image(1)
        assert label.page.value(classes) == expected


def test_boxes_have_their_names_and_a_negative_image_is_named_so(opened, photos):
    names = "[...document.querySelectorAll('#names span')].map((label) => label.textContent)"
    with opened(photos) as label:
        label.wait_for_objects(2)
        assert label.page.value(names) == ["stop", "dog"]
        for x, y in ((60, 70), (220, 55)):
            label.click(x, y)
            label.key("Delete")
        label.wait_for_status("deleted dog. Without objects, this is a negative image")
        assert label.page.value("document.getElementById('none').checkVisibility()")


def test_a_drag_without_the_tool_names_the_key(opened, photos):
    with opened(photos, image=1) as label:
        label.drag((50, 60), (150, 200))
        label.wait_for_status("Press w or New box first")
        assert not (photos / "b.xml").exists()
