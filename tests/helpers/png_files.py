"""Makes PNG files that Pillow cannot write."""

from __future__ import annotations

import struct
import zlib


def png_file(*chunks: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG with these chunks, given as name and body, and their checksums."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
