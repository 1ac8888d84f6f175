"""Reads the data stored in a `.tflite` with the network: labels, normalization, threshold.

A `.tflite` stores this data twice, because it is small: as TFLite metadata, for MediaPipe Tasks and
Android's Task Library; and as `tfod.json` in the zip archive that TFLite metadata appends to the
file. `Detector` reads `tfod.json`, so it needs neither MediaPipe nor another file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfod.detection.raw_outputs import PostProcessing
from tfod.detection.tflite_input import TFLiteInput
from tfod.errors import UserError
from tfod.tiles import Tiles

TFOD_DATA = "tfod.json"
LABELS = "labels.txt"
ANCHORS = "anchors.bin"  # little-endian float32 [A, 4], see `PostProcessing`
MAX_BYTES = 1 << 24  # of each member of the archive


@dataclass(frozen=True)
class TFLiteFile:
    """The content of a `.tflite`, before LiteRT loads it.

    Attributes:
      path: the file.
      content: all bytes of the file.
      input: how to convert pixels to the input tensor.
      labels: label map, id to name.
      threshold: recommended score threshold for display.
      one_thread: LiteRT must run it with one thread, see `tflite_converter.SUPPRESSIONS`.
      post_processing: what follows the network; None if the network does that itself.
      tiles: how to cut images, as the training data was cut; None for whole images.
    """

    path: Path
    content: bytes
    input: TFLiteInput
    labels: dict[int, str]
    threshold: float
    one_thread: bool
    post_processing: PostProcessing | None = None
    tiles: Tiles | None = None


def read_tflite(path: Path) -> TFLiteFile:
    """Reads a file that `pack_tflite` wrote. Rejects modified files: LiteRT may crash on them.

    Raises:
      UserError: the file is missing or corrupt, or was not written by `pack_tflite`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", "Check the path") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            stored = json.loads(_member(archive, TFOD_DATA))
            names = _member(archive, LABELS).decode("utf-8").split("\n")
            post_processing = _post_processing(archive, stored.get("post_processing"))
        if stored["sha256"] != network_digest(content):
            raise ValueError("the network does not match its hash")
        input_spec = TFLiteInput(**stored["input"])
        tiles = Tiles(**stored["tiles"]) if stored.get("tiles") else None
        threshold, one_thread = float(stored["threshold"]), bool(stored["one_thread"])
        labels = dict(enumerate(names, 1))
    # zipfile raises almost any exception on corrupt archives.
    except Exception as error:
        raise UserError(
            path, "is corrupt, or was not written by `tfod export`", "Export it again"
        ) from error
    return TFLiteFile(
        path, content, input_spec, labels, threshold, one_thread, post_processing, tiles
    )


def _post_processing(
    archive: zipfile.ZipFile, stored: dict[str, Any] | None
) -> PostProcessing | None:
    if stored is None:
        return None
    anchors = np.frombuffer(_member(archive, ANCHORS), "<f4").reshape(-1, 4)
    if not np.isfinite(anchors).all():
        raise ValueError("an anchor is not finite")
    return PostProcessing(
        anchors=anchors,
        scales=tuple(float(scale) for scale in stored["scales"]),  # type: ignore[arg-type]
        min_score=float(stored["min_score"]),
        iou_threshold=float(stored["iou_threshold"]),
        max_detections=int(stored["max_detections"]),
        within_classes=bool(stored["within_classes"]),
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.file_size > MAX_BYTES:
        raise ValueError(f"{name} is too large")
    return archive.read(member)


def network_digest(content: bytes) -> str:
    """Returns the SHA-256 of the network: all bytes before the archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = min(member.header_offset for member in archive.infolist())
    return hashlib.sha256(memoryview(content)[:start]).hexdigest()
