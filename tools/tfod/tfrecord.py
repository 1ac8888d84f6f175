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
            size = os.fstat(file.fileno()).st_size
            while head := file.read(12):
                # Before the length is believed: it says how much memory to take.
                if len(head) == 12 and head[8:] != _checksum(head[:8]):
                    raise UserError(path, "is damaged, or no TFRecord file", REMEDY)
                length = int.from_bytes(head[:8], "little")
                if len(head) < 12 or file.tell() + length + 4 > size:
                    raise UserError(path, "is cut off", REMEDY)
                data = file.read(length)
                if file.read(4) != _checksum(data):
                    raise UserError(path, "is damaged: a checksum does not match", REMEDY)
                yield data
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = crc >> 15 | (crc << 17) & 0xFFFFFFFF
    masked = (rotated + MASK_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked)
