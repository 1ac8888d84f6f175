"""Operates the page of `tfod label` in headless Chromium, as a person does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from browser import Page
from tfod.annotation import Box
from tfod.annotation.voc import read_xml


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
