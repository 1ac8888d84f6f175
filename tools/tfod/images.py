"""Picture files: checked, turned upright, as RGB pixels or as bytes that training reads.

`to_rgb` is the one conversion to RGB. What a detector learns from and what it sees at prediction
pass through it, so the two cannot drift apart.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from PIL import ExifTags, Image

from tfod.errors import FileFault, UserError
from tfod.files import read_bytes

if TYPE_CHECKING:  # converting seldom needs it, and it takes a tenth of a second to load
    import numpy as np

# Pillow's names of the formats we open. Not all that it knows: it hands EPS to Ghostscript.
# Its JPEG reader opens the MPO files of phones too.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
JPEG_QUALITY = 95

# A marker, not the 0xFF of coded pixels, which 0x00 or a restart marker (0xD0 to 0xD7) follows.
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Lossless, hierarchical and arithmetic coding, which TensorFlow's libjpeg is built without.
JPEG_RARE_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}

PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})  # chunks that decide the pixels

# What turns the stored pixels upright, by EXIF orientation. 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Header:
    """What is known of a picture before its pixels are.

    Attributes:
      stored: (width, height) of the pixels in the file.
      orientation: how a viewer turns them: EXIF's 1 to 8, and 1 where none is given.
      digest: SHA-256 of the file.
      file_size: bytes.
      training_format: b"jpeg" or b"png" where the OD API's decoder gives the stored pixels from
        these bytes as `to_rgb` does; None where they have to be encoded anew.
    """

    stored: tuple[int, int]
    orientation: int
    digest: bytes
    file_size: int
    training_format: bytes | None

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) as a viewer shows the picture."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


class EncodedImage(NamedTuple):
    """Bytes of a picture for a training record; `format` is b"jpeg" or b"png"."""

    data: bytes
    format: bytes
    width: int
    height: int


@functools.cache
def suffixes() -> frozenset[str]:
    """Suffixes of files in one of `FORMATS`, such as ".jpg", in lower case."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name in FORMATS)


def check_image(path: Path, decode: bool = True) -> Header:
    """Reads a picture's header, and decodes it once to learn now whether it can be read.

    Args:
      decode: False reads the header only.

    Raises:
      FileFault: "image unreadable": it is no picture, is damaged or cut off, or is so large
        (`PIL.Image.MAX_IMAGE_PIXELS`) that it may be a decompression bomb.
    """
    with _reading(path):
        data = read_bytes(path)
        with _open(io.BytesIO(data)) as image:
            # Pillow decodes these nevertheless, and a bit that fell over shows as noise.
            if image.format == "PNG" and any(
                name in PNG_PIXELS and not matches for name, matches in _png_chunks(data)
            ):
                raise ValueError("its pixels do not match their checksum")
            header = Header(
                image.size,
                _orientation(image),
                hashlib.sha256(data).digest(),
                len(data),
                _training_format(image, data),
            )
            if decode:
                # At an eighth of the size libjpeg reads every coded bit and skips most arithmetic.
                image.draft(None, (1, 1))
                to_rgb(image)
            return header


def load_rgb(source: Path | bytes, rotate: bool = True) -> np.ndarray:
    """Pixels of a picture file, or of its bytes, as uint8 `[height, width, 3]`, RGB.

    Args:
      source: any format in `FORMATS`; of an animation, the first frame.
      rotate: turns the picture upright as its EXIF orientation says.

    Raises:
      FileFault: "image unreadable", see `check_image`.
    """
    import numpy as np

    with _reading("picture" if isinstance(source, bytes) else source):
        data = source if isinstance(source, bytes) else source.read_bytes()
        with _open(io.BytesIO(data)) as image:
            return np.array(_turned(to_rgb(image), _orientation(image) if rotate else 1))


def as_rgb(image: np.ndarray | Image.Image) -> np.ndarray:
    """Pixels of a picture in memory as uint8 `[H, W, 3]`, RGB; the same as of its file.

    Args:
      image: a Pillow image, or an array: uint8 or uint16, `[H, W]` or `[H, W, 1]` gray, `[H, W, 3]`
        RGB or `[H, W, 4]` RGBA.

    Raises:
      UserError: an array of another shape or dtype, or an image that does not decode.
    """
    import numpy as np

    if isinstance(image, Image.Image):
        with _reading("picture"):
            return np.array(_turned(to_rgb(image), _orientation(image)))
    plain = image.dtype in (np.uint8, np.uint16) and image.size
    if not (plain and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4)))):
        raise UserError(
            "image",
            f"is {image.dtype} {list(image.shape)}",
            "Give uint8 or uint16: [height, width] gray, or [height, width, 3] RGB, or 4 for RGBA",
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    return np.array(to_rgb(Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)))


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, 8 bits a channel, not turned.

    What shines through a transparent picture is white. Of 16-bit channels the high byte is kept,
    as TensorFlow and libpng do it. 32-bit integers are taken for 16-bit gray (so Pillow reads PGM
    files); floats for gray from 0 to 1, or where there is more, to 255, or to 65535.

    Raises:
      ValueError: a mode that Pillow cannot convert, such as LAB.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_gray_to_8_bits(image)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def encode_for_training(path: Path, rotate: bool = False) -> EncodedImage:
    """A picture's bytes for a training record, whose decoder wants 8-bit JPEG or PNG.

    JPEGs in colour or gray, and PNGs of 8 bits a channel in colour or gray without transparency,
    pass byte for byte. All else is encoded anew: as PNG, which loses nothing, or where the source
    was lossy already, as JPEG of quality 95 with full colour resolution.

    Args:
      rotate: turns the pixels as the EXIF orientation says. The OD API reads stored pixels, so
        without it they stay as they lie in the file.

    Returns:
      The bytes, their format, and the width and height in pixels of what they decode to.

    Raises:
      FileFault: "image unreadable", see `check_image`.
    """
    with _reading(path):
        data = path.read_bytes()
        with _open(io.BytesIO(data)) as image:
            orientation = _orientation(image) if rotate else 1
            passes = _training_format(image, data) if orientation == 1 else None
            if passes:
                return EncodedImage(data, passes, *image.size)
            pixels = _turned(to_rgb(image), orientation)
            kind = b"jpeg" if _is_lossy(image, data) else b"png"
        encoded = io.BytesIO()
        if kind == b"jpeg":
            pixels.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
        else:
            pixels.save(encoded, "PNG")
        return EncodedImage(encoded.getvalue(), kind, *pixels.size)


def _open(file: BinaryIO) -> Image.Image:
    image = Image.open(file, formats=_formats())
    # Between this limit and twice it Pillow only warns.
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too many")
    return image


@functools.cache
def _formats() -> list[str]:
    Image.init()  # registers every format that this build of Pillow has
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Turns whatever goes wrong with a picture into a FileFault.

    Damaged files make Pillow's format readers raise almost anything: OSError, SyntaxError,
    ValueError, EOFError, struct.error, IndexError and more.
    """
    try:
        yield
    except Exception as error:
        what, remedy = "is no picture that can be read", "Save it anew as JPEG or PNG"
        if isinstance(error, OSError) and error.errno:
            what, remedy = f"cannot be read: {error.strerror}", "Check the path and its permissions"
        elif not isinstance(error, Image.UnidentifiedImageError):
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            what = f"the picture does not decode: {reason}"
        raise FileFault(path, "image unreadable", what, remedy) from error


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # viewers show a picture with broken EXIF data as it lies, and so do we
        return 1
    return orientation if orientation in UPRIGHT else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _gray_to_8_bits(image: Image.Image) -> np.ndarray:
    """uint8 `[height, width]` of a picture in mode I;16, I or F, which `convert` would clip."""
    import numpy as np

    gray = np.asarray(image)
    if image.mode == "F":
        gray = np.nan_to_num(gray, posinf=0, neginf=0)
        white = next((full for full in (1, 255) if gray.max() <= full), 0xFFFF)
        return np.round(np.clip(gray / white, 0, 1) * 255).astype(np.uint8)
    bright = (np.clip(gray, 0, 0xFFFF).astype(np.uint16) >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        bright[gray == transparent] = 255
    return bright


def _training_format(image: Image.Image, data: bytes) -> bytes | None:
    """b"jpeg" or b"png" if `tf.io.decode_image(channels=3)` gives the pixels that `to_rgb` gives.

    Pillow decodes some damaged files that TensorFlow refuses, and one of these in a record would
    end a training in the middle, so these do not count.
    """
    if image.format in ("JPEG", "MPO"):
        return b"jpeg" if image.mode in ("RGB", "L") and _is_whole_jpeg(data) else None
    if image.format == "PNG":
        # Pillow's mode hides 16-bit colour; these two bytes of the IHDR chunk tell.
        bits, colour_type = data[24], data[25]
        plain = bits == 8 and colour_type in (0, 2) and not image.has_transparency_data
        return b"png" if plain and _is_whole_png(data) else None
    return None


def _is_whole_jpeg(data: bytes) -> bool:
    """Whether the segments of a JPEG of a common kind follow each other up to its end marker."""
    at = 2
    while marker := JPEG_MARKER.search(data, at):
        code = data[marker.end() - 1]
        if code == 0xD9:
            return True
        if code in JPEG_RARE_FRAMES:
            return False
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


def _is_whole_png(data: bytes) -> bool:
    """Whether each chunk of a PNG matches its checksum, up to the one that ends it."""
    for name, matches in _png_chunks(data):
        if not matches:
            return False
        if name == b"IEND":
            return True
    return False


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The name of each chunk that is there whole, and whether it matches its checksum."""
    at = 8
    while (end := at + 12 + int.from_bytes(data[at : at + 4], "big")) <= len(data):
        crc = zlib.crc32(memoryview(data)[at + 4 : end - 4])
        yield data[at + 4 : at + 8], data[end - 4 : end] == crc.to_bytes(4, "big")
        at = end


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    """Whether the file lost detail when it was saved. In doubt it did not."""
    if image.format == "WEBP":
        return _webp_bitstream(data) == b"VP8 "
    if image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO", "AVIF")


def _webp_bitstream(data: bytes) -> bytes | None:
    """Name of the first chunk of a WebP file that holds pixels: VP8L is lossless, "VP8 " is not."""
    at = 12  # behind "RIFF", size, "WEBP"
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name
        # The frame of an animation holds chunks of its own behind 16 bytes of placement.
        at += 8 + (16 if name == b"ANMF" else size + size % 2)
    return None
