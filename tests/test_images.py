"""Tests `images`: every format decodes to the same pixels in training and prediction."""

from __future__ import annotations

import io
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers.png_files import png_file
from tfod.errors import FileFault, UserError
from tfod.image_files import find_images, list_images
from tfod.images import as_rgb, check_image, encode_for_training, load_rgb

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


def with_orientation(orientation: int, format_name: str) -> bytes:
    """Returns an image that is `smooth()` when the EXIF orientation is applied."""
    upright = np.asarray(smooth())
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
    return encoded(np.ascontiguousarray(stored_pixels[orientation]), format_name, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(tmp_path, tf_decode, orientation, format_name):
    upright = np.asarray(smooth())
    path = tmp_path / "rotated"
    path.write_bytes(with_orientation(orientation, format_name))
    stored_size = (48, 64) if orientation >= 5 else (64, 48)

    header = check_image(path)
    assert (header.stored, header.upright) == (stored_size, (64, 48))
    assert np.abs(load_rgb(path) - upright.astype(int)).mean() < 4
    assert load_rgb(path, rotate=False).shape[:2] == stored_size[::-1]
    not_rotated = encode_for_training(path)
    assert not_rotated.data == path.read_bytes()
    assert (not_rotated.width, not_rotated.height) == stored_size
    rotated = encode_for_training(path, rotate=True)
    assert (rotated.width, rotated.height) == (64, 48)
    assert np.abs(tf_decode(rotated.data) - upright.astype(int)).mean() < 4
    assert "exif" not in Image.open(io.BytesIO(rotated.data)).info or orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_rotated_once(tmp_path, tf_decode, orientation):
    path = tmp_path / "rotated.tif"
    path.write_bytes(with_orientation(orientation, "TIFF"))
    for decode in (True, False):
        header = check_image(path, decode)
        assert (header.stored, header.upright, header.orientation) == ((64, 48), (64, 48), 1)
    pixels = np.asarray(smooth())
    for rotate in (True, False):
        np.testing.assert_array_equal(load_rgb(path, rotate), pixels)
        image = encode_for_training(path, rotate)
        assert (image.width, image.height) == (64, 48)
        np.testing.assert_array_equal(tf_decode(image.data), pixels)
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_rgb(image), pixels)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_in_xmp_data_is_ignored_as_browsers_do(tmp_path, format_name):
    xmp = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if format_name == "PNG":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif format_name == "TIFF":
        options = {"tiffinfo": {700: xmp.encode()}}
    else:
        options = {"xmp": xmp.encode()}
    path = tmp_path / "image"
    path.write_bytes(encoded(smooth(), format_name, **options))
    assert Image.open(path).getexif()[0x0112] == 6  # Pillow uses it
    assert check_image(path).orientation == 1
    assert load_rgb(path).shape == (48, 64, 3)
    # An EXIF orientation beside it counts.
    if format_name != "TIFF":
        exif = Image.Exif()
        exif[0x0112] = 3
        path.write_bytes(encoded(smooth(), format_name, exif=exif, **options))
        assert check_image(path).orientation == 3


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="pillow-heif reads HEIC")
@pytest.mark.parametrize("name", ["photo.HEIC", "photo.jpg"])
def test_heic_is_reported_with_its_remedy(tmp_path, name):
    path = tmp_path / "photos" / name
    path.parent.mkdir()
    path.write_bytes(HEIC)
    message = f"{path}: HEIC is not supported. Install pillow-heif, or convert it to JPEG."
    for read in (check_image, load_rgb, encode_for_training):
        with pytest.raises(FileFault) as caught:
            read(path)
        assert str(caught.value) == message
    if name.endswith("HEIC"):
        with pytest.raises(UserError) as caught:
            find_images([path.parent])
        assert str(caught.value) == message
        for filename in ("photo.heic", "photo.jpg", "photo"):
            with pytest.raises(FileFault) as caught:
                list_images(path.parent).find(Path("a.xml"), filename)
            assert str(caught.value) == message
        # A converted copy is used.
        smooth().save(path.with_suffix(".jpg"))
        assert list_images(path.parent).find(Path("a.xml"), "photo.HEIC") == "photo.jpg"


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="needs pillow-heif")
def test_heic_is_read_with_pillow_heif(tmp_path):
    from pillow_heif import from_pillow

    path = tmp_path / "photo.heic"
    from_pillow(smooth()).save(path, quality=90)
    assert list_images(tmp_path).find(Path("a.xml"), "photo.jpg") == "photo.heic"
    assert check_image(path).stored == (64, 48)
    image = encode_for_training(path)
    assert image.format == b"jpeg"
    assert np.abs(load_rgb(path) - np.asarray(smooth(), int)).mean() < 6


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
