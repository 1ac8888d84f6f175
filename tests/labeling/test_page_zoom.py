"""Tests how the page of `tfod label` shows, centers and zooms images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import CHROMIUM
from helpers.label_page import Label, wait_for_boxes
from helpers.voc_files import write_image
from tfod.annotation import Box
from tfod.annotation.voc import read_xml

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


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
