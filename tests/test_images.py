"""Tests `images`: every format decodes to the same pixels in training and prediction."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.png_files import png_file
from tfod.errors import FileFault
from tfod.images import check_image, encode_for_training, load_rgb

HEIGHT, WIDTH = 12, 20
RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GRAY = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)


def png(pixels: np.ndarray, color_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG of uint8 or uint16 `[H, W(, C)]`, because Pillow cannot write 16-bit RGB."""
    bits = 8 * pixels.itemsize
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(f">u{pixels.itemsize}"))
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, color_type, 0, 0, 0)
    return png_file((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def encoded(image: Image.Image | np.ndarray, format_name: str, **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def gray_as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=-1)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return np.round(rgb * opacity + 255 * (1 - opacity)).astype(np.uint8)


def with_alpha(rgb: np.ndarray, alpha: np.ndarray | int) -> np.ndarray:
    channel = np.full((HEIGHT, WIDTH), alpha, rgb.dtype) if isinstance(alpha, int) else alpha
    return np.dstack([rgb, channel])


TWO_COLORS = np.where(GRAY > 127, 255, 0)
PALETTE = Image.fromarray(RGB).quantize(16)
KEYED = np.where((RGB[0, 0] == RGB).all(-1, keepdims=True), np.uint8(255), RGB)

# File name: (content, expected pixels, whether the content is stored unchanged in a record)
LOSSLESS = {
    "rgb.png": (encoded(RGB, "PNG"), RGB, True),
    "gray.png": (encoded(GRAY, "PNG"), gray_as_rgb(GRAY), True),
    "rgb16.png": (png(DEEP, 2), DEEP >> 8, False),
    "gray16.png": (png(DEEP[..., 0], 0), gray_as_rgb(DEEP[..., 0] >> 8), False),
    "gray16.tif": (encoded(DEEP[..., 0], "TIFF"), gray_as_rgb(DEEP[..., 0] >> 8), False),
    "gray16.pgm": (encoded(DEEP[..., 0], "PPM"), gray_as_rgb(DEEP[..., 0] >> 8), False),
    "int32.tif": (
        encoded(DEEP[..., 0].astype(np.int32), "TIFF"),
        gray_as_rgb(DEEP[..., 0] >> 8),
        False,
    ),
    "float.tif": (encoded((GRAY / 255).astype(np.float32), "TIFF"), gray_as_rgb(GRAY), False),
    "float255.tif": (encoded(GRAY.astype(np.float32), "TIFF"), gray_as_rgb(GRAY), False),
    "opaque.png": (encoded(with_alpha(RGB, 255), "PNG"), RGB, False),
    "opaque16.png": (png(with_alpha(DEEP, 65535), 6), DEEP >> 8, False),
    "alpha.png": (encoded(with_alpha(RGB, ALPHA), "PNG"), over_white(RGB, ALPHA), False),
    "clear.png": (encoded(with_alpha(RGB, 0), "PNG"), np.full_like(RGB, 255), False),
    "gray_alpha.png": (
        encoded(Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(ALPHA)]), "PNG"),
        over_white(gray_as_rgb(GRAY), ALPHA),
        False,
    ),
    "keyed.png": (png(RGB, 2, (b"tRNS", struct.pack(">HHH", *RGB[0, 0]))), KEYED, False),
    "keyed16.png": (
        png(DEEP[..., 0], 0, (b"tRNS", struct.pack(">H", DEEP[0, 0, 0]))),
        gray_as_rgb(np.where(DEEP[..., 0] == DEEP[0, 0, 0], 255, DEEP[..., 0] >> 8)),
        False,
    ),
    "1bit.png": (encoded(Image.fromarray(TWO_COLORS > 0), "PNG"), gray_as_rgb(TWO_COLORS), False),
    "palette.png": (encoded(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB")), False),
    "animated.gif": (
        encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)]),
        np.asarray(PALETTE.convert("RGB")),
        False,
    ),
    "rgb.bmp": (encoded(RGB, "BMP"), RGB, False),
    "rgb.tif": (encoded(RGB, "TIFF", compression="tiff_lzw"), RGB, False),
    "cmyk.tif": (
        encoded(Image.merge("CMYK", [Image.fromarray(255 - RGB[..., c]) for c in range(3)]
                          + [Image.new("L", (WIDTH, HEIGHT))]), "TIFF"),
        RGB,
        False,
    ),
    "lossless.webp": (encoded(RGB, "WEBP", lossless=True), RGB, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def tf_decode():
    import tensorflow as tf

    return lambda data: tf.io.decode_image(data, channels=3, expand_animations=False).numpy()


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_images_have_the_same_pixels_in_training_and_prediction(tmp_path, tf_decode, name):
    data, expected, unchanged = LOSSLESS[name]
    path = tmp_path / name
    path.write_bytes(data)
    check_image(path)
    # Alpha compositing rounds, so allow a difference of 1.
    np.testing.assert_allclose(load_rgb(path).astype(int), expected, atol=int("alpha" in name))
    image = encode_for_training(path)
    np.testing.assert_array_equal(tf_decode(image.data), load_rgb(path))
    assert (image.format, image.width, image.height) == (b"png", WIDTH, HEIGHT)
    assert (image.data == data) is unchanged


def smooth(width: int = 64, height: int = 48) -> Image.Image:
    """Returns an image that JPEG preserves well. Its corners differ, to show rotations."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([x, y, 255 - x]).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "format_name", "options", "unchanged"),
    [
        ("color.jpg", "JPEG", {"quality": 90}, True),
        ("progressive.jpg", "JPEG", {"progressive": True}, True),
        ("phone.jpg", "MPO", {"save_all": True, "append_images": [smooth().rotate(180)]}, True),
        ("lossy.webp", "WEBP", {"quality": 90}, False),
        ("in.tif", "TIFF", {"compression": "jpeg"}, False),
    ],
)
def test_lossy_images_become_jpeg(tmp_path, tf_decode, name, format_name, options, unchanged):
    path = tmp_path / name
    path.write_bytes(encoded(smooth(), format_name, **options))
    image = encode_for_training(path)
    assert image.format == b"jpeg"
    assert (image.data == path.read_bytes()) is unchanged
    assert np.abs(tf_decode(image.data) - load_rgb(path).astype(int)).max() <= 6
    assert np.abs(tf_decode(image.data) - np.asarray(smooth(), int)).mean() < 6


def test_gray_jpeg_is_unchanged_and_cmyk_jpeg_is_converted(tmp_path, tf_decode):
    gray, cmyk = tmp_path / "gray.jpg", tmp_path / "cmyk.jpg"
    smooth().convert("L").save(gray)
    smooth().convert("CMYK").save(cmyk)
    assert encode_for_training(gray).data == gray.read_bytes()
    image = encode_for_training(cmyk)
    assert image.data != cmyk.read_bytes()
    assert Image.open(io.BytesIO(image.data)).mode == "RGB"
    assert np.abs(tf_decode(image.data) - np.asarray(smooth(), int)).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(tmp_path, tf_decode, orientation, format_name):
    upright = np.asarray(smooth())
    # Stored pixels that become `upright` when the orientation is applied.
    stored_pixels = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(stored_pixels[orientation]))
    path = tmp_path / "rotated"
    path.write_bytes(encoded(stored, format_name, exif=exif))

    header = check_image(path)
    assert (header.stored, header.upright) == (stored.size, (64, 48))
    assert np.abs(load_rgb(path) - upright.astype(int)).mean() < 4
    assert load_rgb(path, rotate=False).shape[:2] == stored.size[::-1]
    not_rotated = encode_for_training(path)
    assert not_rotated.data == path.read_bytes()
    assert (not_rotated.width, not_rotated.height) == stored.size
    rotated = encode_for_training(path, rotate=True)
    assert (rotated.width, rotated.height) == (64, 48)
    assert np.abs(tf_decode(rotated.data) - upright.astype(int)).mean() < 4
    assert "exif" not in Image.open(io.BytesIO(rotated.data)).info or orientation == 1


def test_bytes_can_be_loaded():
    np.testing.assert_array_equal(load_rgb(encoded(RGB, "PNG")), RGB)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a readable image"),
        (b"hello, I am a JPEG", "is not a readable image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a readable image"),
        (encoded(RGB, "PNG")[:400], "cannot be decoded: "),
        (encoded(smooth(), "JPEG")[:-100], "cannot be decoded: image file is truncated"),
    ],
)
def test_damaged_image_is_reported(tmp_path, data, message):
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    for read in (check_image, load_rgb):
        with pytest.raises(FileFault) as caught:
            read(path)
        assert caught.value.kind == "image unreadable"
        assert str(caught.value).startswith(f"{path}: {message}")


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(FileFault, match="cannot be read: No such file or directory"):
        load_rgb(tmp_path / "none.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "big.png"
    path.write_bytes(encoded(smooth(), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 - 1)
    with pytest.raises(FileFault, match="64 x 48 pixels are too many"):
        check_image(path)


def png_truncated_in_the_last_checksum() -> bytes:
    return encoded(smooth(), "PNG")[:-3]


def png_with_a_wrong_checksum() -> bytes:
    return encoded(smooth(), "PNG").replace(b"IEND\xaeB`\x82", b"IEND\xaeB`\x83")


def jpeg_with_a_segment_beyond_the_end() -> bytes:
    data = encoded(smooth(), "JPEG")
    return data[:-40] + b"\xff\xea" + data[-38:]


@pytest.mark.parametrize(
    "damaged",
    [
        png_truncated_in_the_last_checksum,
        png_with_a_wrong_checksum,
        jpeg_with_a_segment_beyond_the_end,
    ],
)
def test_damaged_file_that_only_tensorflow_rejects_is_re_encoded(tmp_path, tf_decode, damaged):
    path = tmp_path / "damaged"
    path.write_bytes(damaged())
    with pytest.raises(Exception, match="Invalid"):
        tf_decode(path.read_bytes())
    assert tf_decode(encode_for_training(path).data).shape == (48, 64, 3)
