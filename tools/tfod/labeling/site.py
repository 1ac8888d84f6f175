"""What the labeling page can ask for, independent of HTTP."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfod import images
from tfod.annotation import Box
from tfod.detection.detector import Detector
from tfod.download import cache_folder, download_npm_package
from tfod.files import replacing_file
from tfod.labeling.folder import Content, Edit, LabelFolder
from tfod.progress import Progress, silent

PAGE = Path(__file__).with_name("page")
# From npm (BSD-3-Clause), and the SHA-512 that npm lists for it.
PACKAGE, VERSION = "@annotorious/annotorious", "3.8.10"
DIGEST = (
    "b35b56ac9a7ffed24d36ee6a2b3662957a2830a1b0ced5335b35ae4eac0cdbec"
    "5f529b06fd78a6ae05c685f12ebc3d0aa32d7635c06a359f376ea83e882a2cb2"
)
LIBRARY = ("annotorious.js", "annotorious.css")
# What every browser shows. Other formats are sent as JPEG.
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
MAX_OBJECTS = 10_000
MAX_NAME = 200
THUMBNAIL = 160  # pixels
LOWEST_SCORE = 0.05  # of a suggestion


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
      status: of HTTP.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status = status
        super().__init__(message)


def fetch_annotorious(progress: Progress = silent) -> Path:
    """Returns the npm archive of Annotorious (0.4 MB), downloaded once.

    Raises:
      UserError: see `download_npm_package`.
    """
    return download_npm_package(PACKAGE, VERSION, DIGEST, progress)


class LabelSite:
    """What the page can ask for, independent of HTTP."""

    def __init__(
        self,
        folder: LabelFolder,
        annotorious: Path,
        detector: Detector | None,
    ) -> None:
        self.folder = folder
        self._detector = detector
        self._detecting = threading.Lock()
        self.files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.is_file()}
        with tarfile.open(annotorious) as archive:
            for name in LIBRARY:
                content = archive.extractfile(f"package/dist/{name}")
                assert content is not None  # the archive has a known hash
                self.files[name] = content.read()

    def overview(self) -> dict[str, Any]:
        """Returns all images with their states, and the settings of the page."""
        states = [self.folder.state(number) for number in range(len(self.folder))]
        return {
            # A key for what the browser remembers: other folders may have the same address.
            "folder": hashlib.sha256(bytes(self.folder.path.resolve())).hexdigest(),
            "images": [
                {"name": name, "labeled": state.labeled, "classes": state.classes}
                for name, state in zip(self.folder.names, states, strict=True)
            ],
            "classes": [] if self._detector is None else list(self._detector.labels.values()),
            "model": self._detector is not None,
            "threshold": None if self._detector is None else self._detector.threshold,
        }

    def objects(self, number: int) -> dict[str, Any]:
        """Returns the objects of an image."""
        return _as_json(self.folder.read(number))

    def save(self, number: int, request: Any) -> dict[str, Any]:
        """Writes the objects of an image.

        Raises:
          RequestError: the request is not valid.
          ChangedError: another program has changed the file.
        """
        if not isinstance(request, dict) or not isinstance(request.get("version"), str):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the request has no version")
        edit = partial(_requested_boxes, request.get("objects"))
        return _as_json(self.folder.save(number, request["version"], edit))

    def undo(self, number: int) -> dict[str, Any]:
        """Takes the last change back."""
        return _as_json(self.folder.undo(number))

    def redo(self, number: int) -> dict[str, Any]:
        """Makes the last change again that was taken back."""
        return _as_json(self.folder.redo(number))

    def suggestions(self, number: int) -> list[dict[str, Any]]:
        """Returns what the model detects in an image, the highest score first."""
        if self._detector is None:
            return []
        content = self.folder.read(number)
        pixels = images.load_rgb(self.folder.images[number], rotate=content.upright)
        with self._detecting:
            detections = self._detector.predict(pixels).above(LOWEST_SCORE)
        boxes = detections.to_pixels_xyxy(content.width, content.height).tolist()
        return [
            {"name": name, "score": round(score, 3), "box": [round(edge, 1) for edge in box]}
            for name, score, box in zip(
                detections.names, detections.scores.tolist(), boxes, strict=True
            )
        ]

    def image(self, number: int) -> tuple[str, bytes]:
        """Returns the media type and the bytes of an image, as a browser shows it."""
        path, upright = self.folder.images[number], self.folder.read(number).upright
        with Image.open(path) as image:
            kind = MEDIA_TYPES.get(image.format or "")
        if kind and upright:  # the browser rotates it
            return kind, path.read_bytes()
        return "image/jpeg", _jpeg(images.load_rgb(path, rotate=upright), 95)

    def thumbnail(self, number: int) -> bytes:
        """Returns a small JPEG, which is made once."""
        path = self.folder.images[number]
        digest = self.folder.header(number).digest.hex()
        cached = cache_folder() / "thumbnails" / f"{digest}.jpg"
        if not cached.is_file():
            small = Image.fromarray(images.load_rgb(path))
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            cached.parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(cached) as new:
                small.save(new, quality=80)
        return cached.read_bytes()


def _as_json(content: Content) -> dict[str, Any]:
    return {
        "width": content.width,
        "height": content.height,
        "version": content.version,
        "undo": content.undo,
        "redo": content.redo,
        "fault": content.fault,
        "objects": [
            {"position": position, "name": box.name, "box": box.corners, "difficult": box.difficult}
            for position, box in content.objects.items()
        ],
    }


def _requested_boxes(objects: Any, content: Content) -> Edit:
    """Checks the objects of a request. Returns those to keep, by position, and the new ones."""
    kept: dict[int, Box] = {}
    new: list[Box] = []
    try:
        if len(objects) > MAX_OBJECTS:
            raise ValueError
        for item in objects:
            position = item["position"]
            if position is None:
                new.append(_requested_box(item, Box("", 0, 0, 0, 0), content))
            elif type(position) is not int:
                raise TypeError
            else:
                kept[position] = _requested_box(item, content.objects[position], content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "the request has no valid objects") from error
    return kept, new


def _requested_box(item: Mapping[str, Any], old: Box, content: Content) -> Box:
    """Returns a box of a request. What the page does not show stays as in `old`.

    A changed box has whole pixels and is inside the image. An unchanged one may have faults.
    """
    name, difficult = item["name"], item["difficult"]
    if not isinstance(name, str) or not isinstance(difficult, bool):
        raise TypeError
    if any(type(edge) not in (int, float) for edge in item["box"]):
        raise TypeError
    name = " ".join(name.split())
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError
    box = replace(old, name=name, difficult=difficult)
    xmin, ymin, xmax, ymax = corners = tuple(float(edge) for edge in item["box"])
    if corners == old.corners:
        return box
    xmin, xmax = max(round(xmin), 0), min(round(xmax), content.width)
    ymin, ymax = max(round(ymin), 0), min(round(ymax), content.height)
    if xmin >= xmax or ymin >= ymax:
        raise ValueError
    return replace(box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return content.getvalue()
