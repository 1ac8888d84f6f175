"""Reads and writes TFRecord files without TensorFlow.

A record consists of its length (8 bytes, little-endian), the length's checksum (4 bytes), the data,
and the data's checksum (4 bytes). Checksums are CRC-32C, masked as in
`tensorflow/core/lib/io/record_writer.cc`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from tfod.errors import UserError

RECORD_FILE = re.compile(r"\.(tf)?records?(-\d+-of-\d+)?$")  # at the end of a file name
MASK_DELTA = 0xA282EAD8
REMEDY = "Run tfod convert or tfod adopt again"


def write_record(file: BinaryIO, data: bytes) -> None:
    """Appends one record."""
    length = struct.pack("<Q", len(data))
    file.write(length + _checksum(length))
    file.write(data)
    file.write(_checksum(data))


def read_file(path: Path) -> Iterator[bytes]:
    """Yields the data of each record, in order, one at a time; checks all checksums.

    Raises:
      UserError: the file is missing, truncated or damaged.
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


def record_places(path: Path) -> Iterator[tuple[int, int]]:
    """Yields the offset and length of each record's data. Reads only the lengths.

    Raises:
      UserError: the file is missing, truncated or damaged.
    """
    try:
        with path.open("rb") as file:
            while (length := _read_length(file, path)) is not None:
                yield file.tell(), length
                file.seek(length + 4, os.SEEK_CUR)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error


def read_record(path: Path, offset: int, length: int) -> bytes:
    """Returns the data of one record.

    Args:
      offset: of the data in bytes, see `record_places`.
      length: of the data in bytes.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data, checksum = file.read(length), file.read(4)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    if checksum != _checksum(data):
        raise UserError(path, "is damaged: a checksum does not match", REMEDY)
    return data


def _read_length(file: BinaryIO, path: Path) -> int | None:
    """Returns the length of the next record's data; None at the end of the file.

    Raises:
      UserError: the checksum does not match, or the file ends within the record.
    """
    head = file.read(12)
    if not head:
        return None
    # Checked before the length is used: it decides how much memory is allocated.
    if len(head) == 12 and head[8:] != _checksum(head[:8]):
        raise UserError(path, "is damaged or not a TFRecord file", REMEDY)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 12 or file.tell() + length + 4 > os.fstat(file.fileno()).st_size:
        raise UserError(path, "is truncated", REMEDY)
    return length


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = crc >> 15 | (crc << 17) & 0xFFFFFFFF
    masked = (rotated + MASK_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked)
