"""What a synthetic scene is drawn with: its size, its light, its camera and its colors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tfod.sample.signs import Canvas, Color, Point, map_color

CAMERA_HEIGHT = 1.5  # meters


@dataclass(frozen=True)
class View:
    """The size of scenes and of the signs in them. Lengths are in image pixels unless stated.

    Attributes:
      sizes: width, height of the image, before random variation.
      sign_counts: fractions of scenes with a number of signs.
      sign_side, distractor_side: range of the longer side of a face that is seen from the front.
      light_side: the smallest traffic light.
      height: range of the height of a sign above the ground, in meters.
    """

    sizes: tuple[tuple[int, int], ...]
    sign_counts: dict[int, float]
    sign_side: tuple[float, float]
    light_side: float
    distractor_side: tuple[float, float]
    height: tuple[float, float]


STREET = View(
    sizes=((400, 300), (300, 400), (400, 400)),
    sign_counts={0: 0.05, 1: 0.47, 2: 0.27, 3: 0.14, 4: 0.07},
    sign_side=(30, 190),
    light_side=36,
    distractor_side=(14, 70),
    height=(1.8, 3.4),
)
# Distant signs in images of six megapixels.
LARGE = View(
    sizes=((3000, 2000),),
    sign_counts={4: 0.25, 7: 0.25, 10: 0.25, 13: 0.25},
    sign_side=(12, 24),
    light_side=16,
    distractor_side=(12, 60),
    height=(1.8, 9),
)


@dataclass(frozen=True)
class Lighting:
    """Light of a scene.

    Attributes:
      fraction: of the scenes.
      zenith, skyline: colors of the sky.
      gain: range of the brightness of everything that does not glow.
      tint: factors of red, green and blue.
      lit_windows: fraction of the windows.
      noise: standard deviation of the image noise, at most.
    """

    fraction: float
    zenith: Color
    skyline: Color
    gain: tuple[float, float]
    tint: tuple[float, float, float]
    lit_windows: float
    noise: float


# Sunny, cloudy, dusk, night.
LIGHTINGS = (
    Lighting(0.40, (84, 146, 218), (206, 224, 240), (0.90, 1.12), (1.00, 1.00, 0.98), 0.0, 4),
    Lighting(0.26, (164, 170, 178), (208, 211, 213), (0.74, 0.96), (0.97, 1.00, 1.02), 0.1, 5),
    Lighting(0.17, (112, 116, 168), (248, 186, 128), (0.50, 0.78), (1.10, 0.96, 0.84), 0.3, 7),
    Lighting(0.17, (40, 46, 82), (96, 88, 104), (0.34, 0.50), (0.94, 0.97, 1.08), 0.4, 10),
)


@dataclass(frozen=True)
class Scene:
    """A canvas and its pinhole camera. Lengths are in pixels of the final image.

    Attributes:
      view: the sizes of the image and of its signs.
      center: x of the vanishing point of the road.
      horizon: y of the horizon.
      focal: focal length.
    """

    view: View
    canvas: Canvas
    rng: np.random.Generator
    lighting: Lighting
    width: int
    height: int
    center: float
    horizon: float
    focal: float

    def project(self, x: float, y: float, z: float) -> Point:
        """Projects a point in meters to the image."""
        scale = self.focal / z
        return self.center + x * scale, self.horizon - (y - CAMERA_HEIGHT) * scale

    def haze(self, color: Color, z: float) -> Color:
        """Returns `color` as seen through z meters of air."""
        clear = math.exp(-z / 90)
        red, green, blue = (
            round(near * clear + far * (1 - clear))
            for near, far in zip(color, self.lighting.skyline, strict=True)
        )
        return red, green, blue


def vary(rng: np.random.Generator, color: Color, spread: float = 18) -> Color:
    """Varies the brightness of a color, and its channels by a third as much."""
    brightness, *offsets = rng.standard_normal(4) * (spread, spread / 3, spread / 3, spread / 3)
    red, green, blue = (
        round(min(255, max(0, value + brightness + offset)))
        for value, offset in zip(color, offsets, strict=True)
    )
    return red, green, blue


def pick(rng: np.random.Generator, *colors: Color) -> Color:
    return vary(rng, colors[rng.integers(len(colors))])


def scale_color(color: Color, factor: float) -> Color:
    return map_color(color, lambda value: round(value * factor))


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], columns: int, rows: int
) -> np.ndarray:
    """Returns smooth noise around 0, float32 `[height, width]`: an enlarged grid of random values.

    Args:
      size: (width, height).
    """
    coarse = Image.fromarray(rng.normal(size=(rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
