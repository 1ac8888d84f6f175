"""Reads the parts of JPEG, PNG and WebP files, without decoding the pixels."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

# In coded pixels, 0xFF is followed by 0x00 or by a restart marker (0xD0 to 0xD7).
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Lossless, hierarchical and arithmetic coding: TensorFlow's libjpeg is built without them.
JPEG_RARE_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}


def is_complete_jpeg(data: bytes) -> bool:
    """Returns whether the segments of a JPEG lead to its end marker.

    Also requires that it uses no rare coding (`JPEG_RARE_FRAMES`).
    """
    for code, _ in _jpeg_segments(data):
        if code == 0xD9:
            return True
        if code in JPEG_RARE_FRAMES:
            return False
    return False


def has_last_scans(data: bytes, components: int, progressive: bool) -> bool:
    """Returns whether the last scan of every component of a JPEG has started.

    The scans of a progressive JPEG store the whole image with more and more detail. The last one
    adds the lowest bit (`shift` 0) of the highest frequency, 63.
    """
    finished: set[int] = set()
    for code, body in _jpeg_segments(data):
        if code == 0xDA:
            count = body[0]
            last_frequency, shift = body[2 * count + 2], body[2 * count + 3] & 15
            if last_frequency == 63 and shift == 0 and (progressive or count == components):
                finished.update(body[1 : 2 * count + 1 : 2])
    return len(finished) == components


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the marker of each segment of a JPEG, up to its end marker, and its content."""
    position = 2
    while marker := JPEG_MARKER.search(data, position):
        start = marker.end()
        position = start + int.from_bytes(data[start : start + 2], "big")
        yield data[start - 1], data[start + 2 : position]
        if data[start - 1] == 0xD9:
            return


def is_complete_png(data: bytes) -> bool:
    """Returns whether every chunk of a PNG up to IEND matches its checksum."""
    for name, matches in png_chunks(data):
        if not matches:
            return False
        if name == b"IEND":
            return True
    return False


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yields the name of each complete chunk, and whether it matches its checksum."""
    start = 8
    while (end := start + 12 + int.from_bytes(data[start : start + 4], "big")) <= len(data):
        crc = zlib.crc32(memoryview(data)[start + 4 : end - 4])
        yield data[start + 4 : start + 8], data[end - 4 : end] == crc.to_bytes(4, "big")
        start = end


def webp_bitstream(data: bytes) -> bytes | None:
    """Returns the name of the first pixel chunk of a WebP file: VP8L is lossless, "VP8 " lossy."""
    position = 12  # after "RIFF", the size and "WEBP"
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name
        # An animation frame contains its chunks after 16 bytes of frame parameters.
        position += 8 + (16 if name == b"ANMF" else size + size % 2)
    return None
