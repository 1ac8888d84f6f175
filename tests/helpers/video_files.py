"""Writes small videos for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 48


def gray(level: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def noise(seed: int) -> np.ndarray:
    """A scene: blocks of 8 pixels in random colors. Any two differ."""
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    milliseconds: Sequence[int] | None = None,
    codec: str = "mpeg4",
    **options: str,
) -> Path:
    """Writes frames, uint8 `[H, W, 3]` RGB, at 10 frames per second or at the given times.

    Args:
      options: of the file format, such as movflags.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 8_000_000
        stream.codec_context.time_base = Fraction(1, 1000 if milliseconds else 10)
        container.start_encoding()
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts = milliseconds[number] if milliseconds else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rotate_in_header(path: Path, degrees: int) -> None:
    """Lets players rotate an MP4 by 90, 180 or 270 degrees clockwise, as phones do.

    Changes the matrix in the header of the track (ISO/IEC 14496-12), which is the identity.
    """
    one, minus_one = 0x10000, 0xFFFF0000
    cos, sin = {90: (0, one), 180: (minus_one, 0), 270: (0, minus_one)}[degrees]
    minus_sin = -sin & 0xFFFFFFFF
    data = path.read_bytes()
    identity = _matrix(one, 0, 0, one)
    start = data.rindex(identity)
    matrix = _matrix(cos, sin, minus_sin, cos)
    path.write_bytes(data[:start] + matrix + data[start + len(matrix) :])


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    values = (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    return b"".join(value.to_bytes(4, "big") for value in values)
