"""Draws images that look alike, and writes variants of them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

SIZE = (320, 240)
Change = Callable[[Image.Image], Image.Image]


def cells(seed: int, size=SIZE) -> Image.Image:
    """Draws blood cells: discs of one color at random places. All such images look alike."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, (220, 210, 205))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(14, 18)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, (190, 130, 130), (160, 100, 100), 3)
    return noisy(image.filter(ImageFilter.GaussianBlur(1)), 3, seed)


def sky(seed: int) -> Image.Image:
    """Draws a sign on a pole before a sky that gets lighter downwards."""
    rng = random.Random(seed)
    ramp = Image.linear_gradient("L").resize(SIZE)
    image = Image.merge("RGB", [ramp.point(lambda v, c=c: c + v // 4) for c in (90, 140, 190)])
    draw, x, y = ImageDraw.Draw(image), rng.uniform(60, 260), rng.uniform(40, 140)
    radius = rng.uniform(15, 35)
    draw.rectangle((x - 3, y, x + 3, 240), "gray")
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), "white", "red", 6)
    for _ in range(6):
        left, top = rng.uniform(0, 300), rng.uniform(180, 230)
        draw.ellipse((left, top, left + rng.uniform(20, 80), 260), "darkgreen")
    return noisy(image, 3, seed)


def belt(seed: int) -> Image.Image:
    """Draws two parts on a conveyor belt with rails, seen by a camera that does not move."""
    rng = random.Random(seed)
    image = Image.new("RGB", SIZE, (110, 110, 110))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 320, 30), (50, 50, 50))
    draw.rectangle((0, 210, 320, 240), (200, 200, 200))
    for color in ("black", "orange"):
        x, y, edge = rng.uniform(0, 280), rng.uniform(35, 170), rng.uniform(20, 40)
        draw.ellipse((x, y, x + edge, y + edge), color)
    return noisy(image, 4, seed)


def noisy(image: Image.Image, strength: float, seed: int = 0) -> Image.Image:
    """Adds the noise of a camera, with this standard deviation in gray levels."""
    pixels = np.asarray(image, np.float32)
    noise = np.random.default_rng(seed).normal(0, strength, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def frame(scene: Image.Image, number: int) -> Image.Image:
    """Returns a frame of a camera that moves to the right by 1 % of its width per frame."""
    width, height = scene.size[0] // 2, scene.size[1]
    left = number * width // 100
    return noisy(scene.crop((left, 0, left + width, height)), 3, number)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """Returns the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# Changes after which an image is still the same for people.
SAME: dict[str, Change] = {
    "low quality": lambda image: Image.open(io.BytesIO(encoded(image, quality=15))),
    "half the size": lambda image: image.resize((160, 120)),
    "other aspect ratio": lambda image: image.resize((240, 240)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "gray": lambda image: image.convert("L"),
    "noise": lambda image: noisy(image, 15, seed=9),
    "border cut off": lambda image: image.crop((4, 3, 316, 237)),
    "moved by 5 pixels": lambda image: ImageChops.offset(image, 5, 2),
}
# Changes that make another training image.
OTHER: dict[str, Change] = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "one half": lambda image: image.crop((0, 0, 160, 240)),
    "moved by a fifth": lambda image: ImageChops.offset(image, 64, 0),
    "inverted": ImageChops.invert,
}
