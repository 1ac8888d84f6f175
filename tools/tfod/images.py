"""Reads, checks and encodes image files.

`to_rgb` is the only conversion to RGB. Training and prediction both use it, so that a detector sees
the same pixels in both.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import ExifTags, Image, ImageFile

from tfod.errors import FileFault, UserError
from tfod.files import read_bytes
from tfod.image_structure import (
    has_last_scans,
    is_complete_jpeg,
    is_complete_png,
    png_chunks,
    webp_bitstream,
)

if TYPE_CHECKING:  # conversion rarely needs NumPy, and importing it takes 0.1 s
    import numpy as np

# Pillow's names of the supported formats. EPS is excluded because Pillow runs Ghostscript for it.
# The JPEG reader also opens the MPO files of phones.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
JPEG_QUALITY = 95

# Photos of iPhones. Pillow reads them if the package pillow-heif is installed.
HEIC_SUFFIXES = frozenset({".heic", ".heif"})
HEIC_FAULT = "HEIC is not supported"
HEIC_REMEDY = "Install pillow-heif, or convert it to JPEG"
# Brands in the first box of a HEIC file, ISO/IEC 23008-12 and 14496-12.
HEIC_START = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START = b"\x89PNG"
# The fraction of the pixels that may be missing in an image without its end: too little to hide
# most objects. 20 missing bytes of a JPEG take about 0.2 % of 640 x 480 pixels, 1,000 bytes 5 %.
MAX_MISSING = 0.01
PADDING = bytes(16)  # zeros at the end of a file; decoders take them for pixels
MCU_ROWS = 32  # a JPEG has its pixels in blocks of up to 32 rows, and may end within such a row
# Protects Pillow's setting to decode PNG files without their end, which is global. Other threads
# that decode images meanwhile accept such files too.
truncation_lock = threading.Lock()

XMP = frozenset({"xmp", "XML:com.adobe.xmp"})  # keys of Pillow's `info`
PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})  # chunks that determine the pixels

# The operation that rotates the stored pixels upright, by EXIF orientation. 1 needs none.
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
    """Properties of an image file.

    Attributes:
      stored: (width, height) of the pixels in the file.
      orientation: EXIF orientation, 1 to 8; 1 if the file has none.
      digest: SHA-256 of the file.
      file_size: in bytes.
      training_format: b"jpeg" or b"png" if the OD API decodes the file to the stored pixels as
        `to_rgb` returns them. None if the image must be re-encoded.
    """

    stored: tuple[int, int]
    orientation: int
    digest: bytes
    file_size: int
    training_format: bytes | None

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) after the EXIF orientation is applied."""
        width, height = self.stored
        return (height, width) if self.orientation >= 5 else (width, height)


class EncodedImage(NamedTuple):
    """An encoded image for a training record; `format` is b"jpeg" or b"png"."""

    data: bytes
    format: bytes
    width: int
    height: int


@functools.cache
def suffixes() -> frozenset[str]:
    """Returns the file name suffixes of all readable formats in lower case, such as ".jpg"."""
    formats = _formats()  # registers extensions too
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name in formats)


def check_image(source: Path | bytes, decode: bool = True) -> Header:
    """Reads the header of an image file, or of its bytes, and decodes the image to detect damage.

    Args:
      decode: False does not decode the pixels.

    Raises:
      FileFault: "image unreadable": the file is not an image, is damaged or truncated, or is so
        large (`PIL.Image.MAX_IMAGE_PIXELS`) that it may be a decompression bomb.
    """
    with _reading(source):
        data = source if isinstance(source, bytes) else read_bytes(source)
        with _open(data) as image:
            header = _header(image, data)
            if header.training_format is None and _is_jpeg_filled_up(image, data):
                raise ValueError("its end is missing and filled with zeros")
            if decode:
                # At 1/8 size libjpeg still reads every coded bit, but skips most arithmetic.
                image.draft(None, (1, 1))
                to_rgb(image)
            return header


def check_image_without_end(path: Path) -> tuple[Header, float]:
    """Decodes a JPEG or PNG file whose end is missing, as far as it goes.

    Returns:
      The header, and the fraction of the pixels that are missing. It is at least `MAX_MISSING` if
      more are missing than that.

    Raises:
      FileFault: "image unreadable": the file has another format or another fault. Progressive JPEG
        and interlaced PNG show every pixel coarsely first; they are used only if the last scan of a
        JPEG has started.
    """
    with _reading(path):
        data = read_bytes(path)
        with _open_without_end(data) as image:
            header = _header(image, data)
            if image.format == "PNG":
                coarse = bool(image.info.get("interlace"))
            else:
                progressive = "progressive" in image.info
                coarse = not has_last_scans(data, len(image.getbands()), progressive)
            if coarse:
                raise ValueError("pixels are missing everywhere")
            image.load()
            return replace(header, training_format=None), _missing_part(image)


def load_rgb(source: Path | bytes, rotate: bool = True) -> np.ndarray:
    """Decodes an image file, or its bytes, to uint8 `[height, width, 3]` RGB.

    Args:
      source: an image in one of `FORMATS`. Only the first frame of an animation is decoded.
      rotate: applies the EXIF orientation.

    Raises:
      FileFault: "image unreadable", see `check_image`.
    """
    import numpy as np

    with _reading(source):
        data = source if isinstance(source, bytes) else source.read_bytes()
        with _open(data) as image:
            return np.array(_rotated(to_rgb(image), _orientation(image) if rotate else 1))


def as_rgb(image: np.ndarray | Image.Image) -> np.ndarray:
    """Converts an image in memory to uint8 `[height, width, 3]` RGB, as `load_rgb` does for a file.

    Args:
      image: a Pillow image, or an array of uint8 or uint16: `[H, W]` or `[H, W, 1]` gray,
        `[H, W, 3]` RGB or `[H, W, 4]` RGBA.

    Raises:
      UserError: the array has another shape or dtype, or the image cannot be decoded.
    """
    import numpy as np

    if isinstance(image, Image.Image):
        with _reading("image"):
            return np.array(_rotated(to_rgb(image), _orientation(image)))
    supported = image.dtype in (np.uint8, np.uint16) and image.size
    if not (supported and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4)))):
        raise UserError(
            "image",
            f"is {image.dtype} {list(image.shape)}",
            "Give uint8 or uint16: [height, width] gray, [height, width, 3] RGB, or "
            "[height, width, 4] RGBA",
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    return np.array(to_rgb(Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to mode RGB with 8 bits per channel. Does not rotate it.

    A transparent image is blended with white. Of 16-bit channels the high byte is kept, as in
    TensorFlow and libpng. 32-bit integers count as 16-bit gray, because Pillow reads 16-bit PGM
    files that way. Floats are gray from 0 to 1; if the maximum is larger, from 0 to 255 or 65535.

    Raises:
      ValueError: Pillow cannot convert the mode, such as LAB.
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


def encode_for_training(
    source: Path | bytes, rotate: bool = False, without_end: bool = False
) -> EncodedImage:
    """Returns an image file, or its bytes, as 8-bit JPEG or PNG for a training record.

    JPEG files in color or gray, and 8-bit PNG files in color or gray without transparency, are
    returned unchanged. All others are re-encoded: as lossless PNG, or if the source was lossy, as
    JPEG of quality 95 without chroma subsampling.

    Args:
      rotate: applies the EXIF orientation to the pixels. False keeps the stored pixels, which the
        OD API reads.
      without_end: the end of the file is missing, see `check_image_without_end`. The missing pixels
        become gray in a JPEG, and 0 in a PNG.

    Returns:
      The data, its format, and the width and height in pixels of the decoded image.

    Raises:
      FileFault: "image unreadable", see `check_image`.
    """
    with _reading(source):
        data = source if isinstance(source, bytes) else source.read_bytes()
        with _open_without_end(data) if without_end else _open(data) as image:
            orientation = _orientation(image) if rotate else 1
            unchanged_format = _training_format(image, data) if orientation == 1 else None
            if unchanged_format:
                return EncodedImage(data, unchanged_format, *image.size)
            pixels = _rotated(to_rgb(image), orientation)
            lossy = _is_lossy(image, data)
        return _encode(pixels, lossy)


def encode_tiles(
    source: bytes,
    windows: Iterable[tuple[int, int, int, int]],
    rotate: bool = False,
    without_end: bool = False,
) -> Iterator[EncodedImage]:
    """Yields parts of an image, encoded like `encode_for_training` encodes a changed image.

    Args:
      windows: xmin, ymin, xmax, ymax in pixels, after the rotation.
      rotate, without_end: as for `encode_for_training`.

    Raises:
      FileFault: "image unreadable", see `check_image`.
    """
    with _reading(source):
        with _open_without_end(source) if without_end else _open(source) as image:
            pixels = _rotated(to_rgb(image), _orientation(image) if rotate else 1)
            lossy = _is_lossy(image, source)
        for window in windows:
            yield _encode(pixels.crop(window), lossy)


def _encode(pixels: Image.Image, lossy: bool) -> EncodedImage:
    encoded = io.BytesIO()
    if lossy:
        pixels.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    else:
        pixels.save(encoded, "PNG")
    return EncodedImage(encoded.getvalue(), b"jpeg" if lossy else b"png", *pixels.size)


def _header(image: Image.Image, data: bytes) -> Header:
    # Pillow decodes such files, but a flipped bit becomes noise in the image.
    if image.format == "PNG" and any(
        name in PNG_PIXELS and not matches for name, matches in png_chunks(data)
    ):
        raise ValueError("the pixels do not match their checksum")
    digest = hashlib.sha256(data).digest()
    training_format = _training_format(image, data)
    return Header(image.size, _orientation(image), digest, len(data), training_format)


class _UnsupportedHeicError(Exception):
    """The file is HEIC, and pillow-heif is not installed."""


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except Image.UnidentifiedImageError as error:
        if HEIC_START.match(data) and "HEIF" not in _formats():
            raise _UnsupportedHeicError from error
        raise
    if image.format == "TIFF":
        # Pillow rotates the pixels while it decodes them. It must not use the orientation in XMP
        # data, which browsers ignore, and which does not change `image.size`.
        image.info.pop("xmp", None)
    # Between this limit and twice the limit Pillow only warns.
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too many")
    return image


@functools.cache
def _formats() -> list[str]:
    Image.init()  # registers all formats of the installed Pillow
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _reading(source: Path | str | bytes) -> Iterator[None]:
    """Converts every exception of an image reader to a FileFault.

    For damaged files, Pillow's format readers raise OSError, SyntaxError, ValueError, EOFError,
    struct.error, IndexError and others.
    """
    try:
        yield
    except Exception as error:
        what, remedy = "is not a readable image", "Re-save it as JPEG or PNG"
        if isinstance(error, OSError) and error.errno:
            what, remedy = f"cannot be read: {error.strerror}", "Check the path and its permissions"
        elif isinstance(error, _UnsupportedHeicError):
            what, remedy = HEIC_FAULT, HEIC_REMEDY
        elif not isinstance(error, Image.UnidentifiedImageError):
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            what = f"cannot be decoded: {reason}"
        path = "image" if isinstance(source, bytes) else source
        raise FileFault(path, "image unreadable", what, remedy) from error


@contextmanager
def _open_without_end(data: bytes) -> Iterator[Image.Image]:
    """Opens a JPEG or PNG file whose end is missing, also if zeros were filled in for it.

    Decoders set the missing pixels of a JPEG to gray, those of a PNG to 0.
    """
    data = data.rstrip(b"\0\xff")
    if data.startswith(JPEG_START):
        with _open(data + JPEG_END) as image:
            yield image
        return
    if not data.startswith(PNG_START):
        raise ValueError("only JPEG and PNG are decoded without their end")
    with truncation_lock:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            with _open(data) as image:
                yield image
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _missing_part(image: Image.Image) -> float:
    """Returns the fraction of the pixels at the bottom right that were not in the file.

    Pixels of an object that have the same color count too, so the result may be too large. The
    upper part of the image is not examined, which is enough to see whether more than `MAX_MISSING`
    is missing.
    """
    import numpy as np

    width, height = image.size
    rows = min(height, math.ceil(MAX_MISSING * height) + MCU_ROWS)
    pixels = np.asarray(image.crop((0, height - rows, width, height))).reshape(rows, width, -1)
    if image.format == "PNG":
        filled = (pixels == 0).all(-1)
    else:
        filled = ((pixels >= 127) & (pixels <= 129)).all(-1)  # 128 may be rounded
    at_row_ends = np.logical_and.accumulate(filled[::-1, ::-1], axis=1).sum(1)
    connected = np.logical_and.accumulate(at_row_ends > 0)
    return float(at_row_ends[connected].sum() / (width * height))


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of the pixels that Pillow decodes, from 1 to 8."""
    if image.format == "TIFF":
        return 1  # the decoded pixels are upright
    try:
        exif = image.getexif()
        if "Raw profile type exif" not in image.info and not XMP.isdisjoint(image.info):
            # Like browsers, ignore the orientation in XMP data, which Pillow uses.
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # like image viewers, ignore broken EXIF data
        return 1
    return orientation if orientation in UPRIGHT else 1


def _rotated(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _gray_to_8_bits(image: Image.Image) -> np.ndarray:
    """Returns uint8 `[height, width]` of an image in mode I;16, I or F.

    Pillow's `convert` would clip these modes at 255.
    """
    import numpy as np

    gray = np.asarray(image)
    if image.mode == "F":
        gray = np.nan_to_num(gray, posinf=0, neginf=0)
        white = next((maximum for maximum in (1, 255) if gray.max() <= maximum), 0xFFFF)
        return np.round(np.clip(gray / white, 0, 1) * 255).astype(np.uint8)
    high_bytes = (np.clip(gray, 0, 0xFFFF).astype(np.uint16) >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        high_bytes[gray == transparent] = 255
    return high_bytes


def _training_format(image: Image.Image, data: bytes) -> bytes | None:
    """Returns b"jpeg" or b"png" if `tf.io.decode_image(channels=3)` gives the pixels of `to_rgb`.

    Returns None for damaged files that Pillow decodes but TensorFlow rejects: in a record, such a
    file would stop the training.
    """
    if image.format in ("JPEG", "MPO"):
        return b"jpeg" if image.mode in ("RGB", "L") and is_complete_jpeg(data) else None
    if image.format == "PNG":
        # Pillow's mode does not show 16-bit color, but these two bytes of the IHDR chunk do.
        bits, color_type = data[24], data[25]
        plain = bits == 8 and color_type in (0, 2) and not image.has_transparency_data
        return b"png" if plain and is_complete_png(data) else None
    return None


def _is_jpeg_filled_up(image: Image.Image, data: bytes) -> bool:
    """Returns whether a JPEG ends with zeros instead of its end, like a download that stopped."""
    is_jpeg = image.format in ("JPEG", "MPO")
    return is_jpeg and data.endswith(PADDING) and not is_complete_jpeg(data)


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    """Returns whether the file uses lossy compression; False if this is unknown."""
    if image.format == "WEBP":
        return webp_bitstream(data) == b"VP8 "
    if image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO", "AVIF", "HEIF")
