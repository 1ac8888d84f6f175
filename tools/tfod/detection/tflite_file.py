"""What lies in a `.tflite` beside the network: class names, normalization, a score to start from.

It is there twice, as both are small: as TFLite metadata, which MediaPipe Tasks and Android's Task
Library read, and as `tfod.json` in the archive that TFLite metadata ends with, for `Detector`,
which so needs neither MediaPipe nor another file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tfod.detection.tflite_input import TFLiteInput
from tfod.errors import UserError

OURS = "tfod.json"
LABELS = "labels.txt"
LARGEST = 1 << 20  # bytes that either of them may have


@dataclass(frozen=True)
class TFLiteFile:
    """A `.tflite`, read but not loaded.

    Attributes:
      path: where it was read from.
      content: the whole file.
      given: how pixels become its input.
      labels: label map, id to name.
      threshold: score from which on a detection is worth showing.
      one_thread: LiteRT must run it with one thread, see `tflite_export.SUPPRESSIONS`.
    """

    path: Path
    content: bytes
    given: TFLiteInput
    labels: dict[int, str]
    threshold: float
    one_thread: bool


def read_tflite(path: Path) -> TFLiteFile:
    """Reads what `pack_tflite` made. A file that changed since is refused: LiteRT may crash on it.

    Raises:
      UserError: the file is missing or damaged, or `pack_tflite` did not make it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", "Check the path") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            ours = json.loads(_member(archive, OURS))
            names = _member(archive, LABELS).decode("utf-8").split("\n")
        if ours["sha256"] != network_digest(content):
            raise ValueError("its bytes are not those that were written")
        given = TFLiteInput(**ours["input"])
        threshold, one_thread = float(ours["threshold"]), bool(ours["one_thread"])
        labels = dict(enumerate(names, 1))
    # Damaged archives make zipfile raise almost anything.
    except Exception as error:
        raise UserError(
            path, "is damaged, or no model that `tfod export` wrote", "Export it again"
        ) from error
    return TFLiteFile(path, content, given, labels, threshold, one_thread)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.file_size > LARGEST:
        raise ValueError(f"{name} is too large")
    return archive.read(member)


def network_digest(content: bytes) -> str:
    """SHA-256 of the network: of all that is before the archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = min(member.header_offset for member in archive.infolist())
    return hashlib.sha256(memoryview(content)[:start]).hexdigest()
