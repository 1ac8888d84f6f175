"""The TFRecord file format, without TensorFlow.

A record is its length (8 bytes, little end first), the length's checksum (4), the data, and the
data's checksum (4). Checksums are CRC-32C, masked as in `tensorflow/core/lib/io/record_writer.cc`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from tfod.errors import UserError

MASK_DELTA = 0xA282EAD8
REMEDY = "Run tfod convert again"


def write_record(file: BinaryIO, data: bytes) -> None:
    """Appends one record."""
    length = struct.pack("<Q", len(data))
    file.write(length + _checksum(length))
    file.write(data)
    file.write(_checksum(data))


def read_file(path: Path) -> Iterator[bytes]:
    """The data of each record, in order, one at a time; every checksum is compared.

    Raises:
      UserError: the file is missing, cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            while (length := _read_length(file, path)) is not None:
                data = file.read(length)
                if file.read(4) != _checksum(data):
                    raise UserError(path, "is damaged: a checksum does not match", REMEDY)
                yield data
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error


def record_places(path: Path) -> list[tuple[int, int]]:
    """Where the data of each record begins, and its length, from the lengths alone.

    Raises:
      UserError: the file is missing, cut off or damaged.
    """
    places = []
    try:
        with path.open("rb") as file:
            while (length := _read_length(file, path)) is not None:
                places.append((file.tell(), length))
                file.seek(length + 4, os.SEEK_CUR)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    return places


def read_record(path: Path, at: int, length: int) -> bytes:
    """The data of one record.

    Args:
      at, length: see `record_places`.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(at)
            data, checksum = file.read(length), file.read(4)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    if checksum != _checksum(data):
        raise UserError(path, "is damaged: a checksum does not match", REMEDY)
    return data


def _read_length(file: BinaryIO, path: Path) -> int | None:
    """Length of the record that begins here, of which all is there; None at the end."""
    head = file.read(12)
    if not head:
        return None
    # Before the length is believed: it says how much memory to take.
    if len(head) == 12 and head[8:] != _checksum(head[:8]):
        raise UserError(path, "is damaged, or no TFRecord file", REMEDY)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 12 or file.tell() + length + 4 > os.fstat(file.fileno()).st_size:
        raise UserError(path, "is cut off", REMEDY)
    return length


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = crc >> 15 | (crc << 17) & 0xFFFFFFFF
    masked = (rotated + MASK_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked)
