"""Tests the page of `tfod label` in headless Chromium: mouse, keys and touch, to the pixel."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import CHROMIUM, Page, browser
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Box
from tfod.annotation.voc import read_xml
from tfod.detection.detector import Detector
from tfod.errors import UserError

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


class Label:
    """The page, operated as a person does. Points are in pixels of the image."""

    def __init__(self, page: Page, url: str, image: int = 0) -> None:
        self.page = page
        page.send("Page.navigate", url=f"{url}/#{image}")
        self.wait_for_image(image)

    def wait_for_image(self, number: int) -> None:
        self.page.wait_for(
            f"location.hash === '#{number}' && "
            "document.getElementById('stage').getAttribute('aria-busy') === 'false'"
        )

    def view(self) -> list[float]:
        """Returns the left and top edge of the image in the window, and its scale."""
        return self.page.value(
            "(() => { const image = document.getElementById('image');"
            "const box = image.getBoundingClientRect();"
            "return [box.left, box.top, box.width / image.naturalWidth]; })()"
        )

    def stage(self) -> list[float]:
        """Returns the edges of the viewing area in the window: left, top, right, bottom."""
        return self.page.value(
            "(({ left, top, right, bottom }) => [left, top, right, bottom])"
            "(document.getElementById('stage').getBoundingClientRect())"
        )

    def at(self, x: float, y: float) -> dict[str, float]:
        left, top, scale = self.view()
        return {"x": left + x * scale, "y": top + y * scale}

    def mouse(self, kind: str, x: float, y: float) -> None:
        options = {"button": "left", "clickCount": 1, "buttons": int(kind != "mouseReleased")}
        self.page.send("Input.dispatchMouseEvent", type=kind, **self.at(x, y), **options)

    def wheel(self, x: int, y: int, steps: int) -> None:
        """Turns the wheel with Ctrl at a point of the window; up to zoom in."""
        for _ in range(abs(steps)):
            delta = {"deltaX": 0, "deltaY": -100 if steps > 0 else 100}
            self.page.send(
                "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, modifiers=2, **delta
            )

    def resize_window(self, width: int, height: int) -> None:
        options = {"deviceScaleFactor": 1, "mobile": False}
        self.page.send("Emulation.setDeviceMetricsOverride", width=width, height=height, **options)

    def slow_down_network(self) -> None:
        conditions = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        self.page.send("Network.emulateNetworkConditions", latency=200, **conditions)

    def under(self, x: int, y: int) -> tuple[float, float]:
        """Returns the point of the image that is shown at a point of the window."""
        left, top, scale = self.view()
        return (x - left) / scale, (y - top) / scale

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("mousePressed", *start)
        for part in (0.3, 0.7, 1.0):
            x, y = (a + part * (b - a) for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y)
        self.mouse("mouseReleased", *end)

    def click(self, x: float, y: float) -> None:
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def touch_drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        send = self.page.send
        send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[self.at(*start)])
        for part in (0.5, 1.0):
            point = self.at(*(a + part * (b - a) for a, b in zip(start, end, strict=True)))
            send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[point])
        send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str, modifiers: int = 0) -> None:
        text = {"text": key} if len(key) == 1 and not modifiers else {}
        for kind in ("keyDown", "keyUp"):
            self.page.send(
                "Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers, **text
            )
            text = {}

    def type(self, text: str) -> None:
        self.page.send("Input.insertText", text=text)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.page.send("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
        self.page.send("Input.dispatchKeyEvent", type="keyUp", **enter)

    def draw(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.key("w")
        self.drag(start, end)

    def text(self, name: str) -> str:
        return self.page.value(f"document.getElementById('{name}').textContent")

    def is_enabled(self, name: str) -> bool:
        return not self.page.value(f"document.getElementById('{name}').disabled")

    def boxes(self) -> list[Box]:
        """Returns the boxes that are shown, with their names, to one pixel of the image."""
        left, top, scale = self.view()
        names = "[...document.querySelectorAll('#names span')].map((name) => name.textContent)"
        edges = self.page.value(
            "[...document.querySelectorAll('.a9s-annotation .a9s-inner')].map((box) => {"
            "const { left, top, right, bottom } = box.getBoundingClientRect();"
            "return [left, top, right, bottom]; })"
        )
        corners = [
            [
                round((edge - start) / scale)
                for edge, start in zip(box, (left, top) * 2, strict=True)
            ]
            for box in edges
        ]
        return [Box(name, *box) for name, box in zip(self.page.value(names), corners, strict=True)]

    def wait_for_status(self, text: str) -> None:
        self.page.wait_for(f"document.getElementById('status').textContent.includes({text!r})")

    def wait_for_objects(self, count: int) -> None:
        self.page.wait_for(f"document.querySelectorAll('#objects li').length === {count}")


@pytest.fixture
def opened(serve):
    @contextmanager
    def opened(folder: Path, detector=None, image: int = 0):
        with serve(folder, detector) as url, browser("--window-size=1400,900") as page:
            yield Label(page, url, image)

    return opened


def wait_for_boxes(label: Label, xml: Path, expected: list[Box]) -> None:
    """Waits until the file has the boxes, each edge to one pixel."""

    def found() -> list[Box]:
        return [item.box for item in read_xml(xml).objects] if xml.exists() else []

    def is_equal(box: Box, other: Box) -> bool:
        near = np.allclose(box.corners, other.corners, atol=1)
        return near and (box.name, box.difficult) == (other.name, other.difficult)

    for _ in range(100):
        boxes = found()
        if len(boxes) == len(expected) and all(map(is_equal, boxes, expected)):
            return
        label.page.value("new Promise((done) => setTimeout(done, 100))")
    raise AssertionError((found(), label.page.value("document.body.innerText")))


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


def test_zoomed_boxes_are_exact(opened, tmp_path):
    write_image(tmp_path / "large.jpg", size=(6000, 4000))
    with opened(tmp_path) as label:
        for _ in range(6):
            label.key("+")
        label.page.value("document.getElementById('stage').scrollTo(3000, 2000)")
        x, y = label.page.value(
            "(() => { const image = document.getElementById('image');"
            "const box = image.getBoundingClientRect();"
            "const scale = box.width / image.naturalWidth;"
            "const stage = document.getElementById('stage').getBoundingClientRect();"
            "return [(stage.left - box.left) / scale, (stage.top - box.top) / scale]; })()"
        )
        assert x > 100 and y > 100
        label.draw((x + 40, y + 30), (x + 140, y + 90))
        label.page.wait_for("document.activeElement.id === 'class'")
        label.type("far")
        expected = Box("far", x + 40, y + 30, x + 140, y + 90)
        wait_for_boxes(label, tmp_path / "large.xml", [expected])


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


def test_zooming_in_and_out_leaves_no_scrollbars(opened, photos):
    with opened(photos) as label:
        label.key("w")
        for key in "+++":
            label.key(key)
        label.mouse("mouseMoved", 60, 70)
        label.key("0")
        stage = label.page.value(
            "(({ scrollWidth, clientWidth, scrollHeight, clientHeight }) =>"
            "[scrollWidth - clientWidth, scrollHeight - clientHeight])"
            "(document.getElementById('stage'))"
        )
        assert stage == [0, 0]


SHAPES = [(400, 300), (1600, 200), (200, 1600), (40, 30), (3000, 2000)]
shapes = pytest.mark.parametrize("size", SHAPES, ids=str)


def visible_edges(label: Label, path: Path) -> list[int]:
    """Returns the edges of what is magenta in the window: left, top, right, bottom."""
    label.page.screenshot(path)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - (255, 0, 255)).max(axis=2) < 20)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@shapes
def test_an_image_is_shown_whole_in_the_center(opened, tmp_path, size):
    Image.new("RGB", size, (255, 0, 255)).save(tmp_path / "image.png")
    with opened(tmp_path) as label:
        # The list shows a small one.
        label.page.value("document.querySelector('.row img').style.visibility = 'hidden'")
        for change in (
            lambda: None,
            lambda: (label.wheel(600, 400, 5), label.key("0")),
            lambda: label.resize_window(1000, 1000),
            lambda: label.page.value(
                "document.getElementById('status').textContent = 'A long message. '.repeat(30)"
            ),
        ):
            change()
            shown, stage = visible_edges(label, tmp_path / "page.png"), label.stage()
            gaps = np.abs(np.subtract(shown, stage))
            np.testing.assert_allclose(gaps[:2], gaps[2:], atol=1.5)
            assert gaps.min() <= 1
            width, height = shown[2] - shown[0], shown[3] - shown[1]
            assert width * size[1] == pytest.approx(height * size[0], rel=0.02)


@shapes
def test_the_wheel_zooms_around_the_pointer(opened, tmp_path, size):
    write_image(tmp_path / "image.png", size=size)
    with opened(tmp_path) as label:
        fitted = label.view()
        for part in ((0.5, 0.5), (0.1, 0.2), (0.97, 0.9)):
            x, y = map(round, label.at(*np.multiply(size, part)).values())
            before = label.under(x, y)
            for step in [1] * 15 + [-1] * 14:
                label.wheel(x, y, step)
                assert list(label.at(*before).values()) == pytest.approx([x, y], abs=0.1)
            label.wheel(x, y, 5)
            assert label.view()[2] == pytest.approx(fitted[2] * 1.2**6, rel=0.01)
            label.wheel(x, y, -7)
            assert label.view() == pytest.approx(fitted, abs=0.1)


@shapes
def test_zooming_out_leaves_no_gap_that_the_whole_image_would_not_have(opened, tmp_path, size):
    write_image(tmp_path / "image.png", size=size)
    with opened(tmp_path) as label:
        stage = np.array(label.stage())
        center = [round(value) for value in (stage[:2] + stage[2:]) / 2]
        corner = [round(value) for value in label.at(0, 0).values()]
        gap = np.subtract(label.view()[:2], stage[:2])
        label.wheel(*corner, 10)
        label.page.value("document.getElementById('stage').scrollTo(0, 0)")
        for _ in range(10):
            label.wheel(*center, -1)
            assert np.all(np.subtract(label.view()[:2], stage[:2]) <= gap + 1)


@shapes
def test_boxes_drawn_after_zooming_are_exact(opened, tmp_path, size):
    write_image(tmp_path / "image.png", size=size)
    left, top = size[0] // 2, size[1] // 2
    box = Box("far", left, top, left + 12, top + 10)
    with opened(tmp_path) as label:
        steps = max(math.ceil(math.log(4.5 / label.view()[2], 1.2)), 1)
        label.wheel(*map(round, label.at(left + 6, top + 5).values()), steps)
        label.page.value("document.getElementById('class').focus()")
        label.type("far")
        label.key("w")
        label.drag((box.xmin, box.ymin), (box.xmax, box.ymax))
        label.wait_for_status("Saved: image.png: new far")
        drawn = label.page.value(
            "(({ left, top, right, bottom }) => [left, top, right, bottom])"
            "(document.querySelector('.a9s-annotation .a9s-inner').getBoundingClientRect())"
        )
        corners = [*label.at(box.xmin, box.ymin).values(), *label.at(box.xmax, box.ymax).values()]
        assert drawn == pytest.approx(corners, abs=2)
        (item,) = read_xml(tmp_path / "image.xml").objects
        assert item.box == box
