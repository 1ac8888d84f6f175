"""The faces of the synthetic road signs, and the canvas on which signs and streets are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LIGHT_ASPECT = 0.42  # width / height of the housing of a traffic light

Color = tuple[int, int, int]
Point = tuple[float, float]
Rect = tuple[float, float, float, float]  # xmin, ymin, xmax, ymax
DrawFace = Callable[["Canvas", np.random.Generator], None]

WHITE, BLACK, RED, BLUE = (240, 240, 236), (22, 22, 24), (196, 22, 32), (20, 82, 172)
GREEN, YELLOW, STEEL, GLASS = (30, 120, 70), (242, 190, 20), (120, 122, 125), (62, 74, 88)
REFLECTIVE = 255  # glow of retroreflective sheeting; `scene` scales it by the light that it gets


class Canvas:
    """An image and its glow map (0 to 255), drawn together so that a shape also covers glow.

    All coordinates are multiplied by `scale`. A scene uses pixels of the final image; a sign face
    uses fractions of its longer side, and has an alpha channel.
    """

    def __init__(self, mode: str, width: float, height: float, scale: float) -> None:
        size = round(width * scale), round(height * scale)
        self.scale, self.image, self.glow = scale, Image.new(mode, size), Image.new("L", size)
        self._draws = ImageDraw.Draw(self.image), ImageDraw.Draw(self.glow)

    def _draw(
        self, shape: str, points: Sequence[Point], color: Color, glow: int, **options: float
    ) -> None:
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        for draw, fill in zip(self._draws, (color, glow), strict=True):
            getattr(draw, shape)(scaled, fill=fill, **options)

    def polygon(self, points: Sequence[Point], color: Color, glow: int = 0) -> None:
        self._draw("polygon", points, color, glow)

    def rectangle(self, rect: Rect, color: Color, glow: int = 0, radius: float = 0) -> None:
        corners = (rect[:2], rect[2:])
        self._draw("rounded_rectangle", corners, color, glow, radius=radius * self.scale)

    def disc(self, center: Point, radius: float, color: Color, glow: int = 0) -> None:
        corners = [(center[0] + side * radius, center[1] + side * radius) for side in (-1, 1)]
        self._draw("ellipse", corners, color, glow)

    def line(self, points: Sequence[Point], width: float, color: Color, glow: int = 0) -> None:
        self._draw("line", points, color, glow, width=max(1, round(width * self.scale)))

    def text(self, text: str, rect: Rect, color: Color, weight: float) -> None:
        """Draws `text` in the middle of `rect`, as large as possible.

        Args:
          weight: stroke width as a fraction of the font size; 0.06 is bold.
        """
        left, top, right, bottom = (value * self.scale for value in rect)
        font = ImageFont.load_default(size=120)
        stroke = round(weight * 120)
        x0, y0, x1, y1 = font.getbbox(text, stroke_width=stroke)
        mask = Image.new("L", (round(x1 - x0), round(y1 - y0)))
        ImageDraw.Draw(mask).text((-x0, -y0), text, 255, font, stroke_width=stroke)
        factor = min((right - left) / mask.width, (bottom - top) / mask.height)
        width, height = (max(1, round(side * factor)) for side in mask.size)
        mask = mask.resize((width, height))
        x, y = (left + right - width) / 2, (top + bottom - height) / 2
        self.image.paste(color, (round(x), round(y)), mask)


def map_color(color: Color, function: Callable[[int], int]) -> Color:
    """Applies `function` to each channel."""
    red, green, blue = color
    return function(red), function(green), function(blue)


# Sign faces. Each fills a canvas of height 1, so the canvas border is the bounding box.


def _speedlimit(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, RED, REFLECTIVE)
    canvas.disc((0.5, 0.5), rng.uniform(0.37, 0.41), WHITE, REFLECTIVE)
    canvas.text(str(10 * rng.integers(2, 13)), (0.2, 0.3, 0.8, 0.7), BLACK, 0.06)


def _stop(canvas: Canvas, rng: np.random.Generator) -> None:
    angles = math.pi * (np.arange(8) + 0.5) / 4
    corners = np.stack((np.cos(angles), np.sin(angles)), axis=1)

    def octagon(radius: float) -> list[Point]:
        return [(x, y) for x, y in (0.5 + radius * corners).tolist()]

    canvas.polygon(octagon(0.538), WHITE, REFLECTIVE)
    canvas.polygon(octagon(rng.uniform(0.49, 0.51)), RED, REFLECTIVE)
    canvas.text("STOP", (0.12, 0.34, 0.88, 0.66), WHITE, 0.07)


def _crosswalk(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.rectangle((0.005, 0.005, 0.99, 0.99), BLUE, REFLECTIVE, radius=0.05)
    canvas.polygon([(0.5, 0.1), (0.92, 0.88), (0.08, 0.88)], WHITE, REFLECTIVE)
    facing = rng.choice((-1, 1))
    pedestrian: list[tuple[float, list[Point]]] = [
        (0.085, [(0.0, 0.4), (-0.01, 0.6)]),
        (0.035, [(-0.01, 0.42), (-0.1, 0.5), (-0.12, 0.58)]),
        (0.035, [(0.01, 0.42), (0.08, 0.52), (0.14, 0.54)]),
        (0.05, [(-0.02, 0.57), (-0.07, 0.7), (-0.17, 0.8)]),
        (0.05, [(0.0, 0.57), (0.08, 0.67), (0.1, 0.8)]),
    ]
    stripes: list[tuple[float, list[Point]]] = [
        (0.03, [(x - 0.04, 0.85), (x + 0.04, 0.85)]) for x in (-0.26, -0.13, 0, 0.13, 0.26)
    ]
    for width, points in (*pedestrian, *stripes):
        canvas.line([(0.5 + facing * x, y) for x, y in points], width, BLACK, REFLECTIVE)
    canvas.disc((0.5 + facing * 0.01, 0.34), 0.05, BLACK, REFLECTIVE)


def _trafficlight(canvas: Canvas, rng: np.random.Generator) -> None:
    shade = int(rng.integers(26, 68))
    housing = (0, 0, LIGHT_ASPECT - 0.004, 0.995)
    canvas.rectangle(housing, (shade, shade, shade), 60, radius=0.06)
    lit = rng.choice(3, p=(0.42, 0.16, 0.42))
    visor = (shade // 2, shade // 2, shade // 2)
    for index, lamp in enumerate(((255, 54, 40), (255, 196, 40), (60, 236, 130))):
        x, y = LIGHT_ASPECT / 2, 0.19 + 0.31 * index
        canvas.disc((x, y - 0.02), 0.145, visor)
        if index == lit:
            canvas.disc((x, y), 0.125, lamp, 255)
            canvas.disc((x, y), 0.06, map_color(lamp, lambda value: min(255, value + 70)), 255)
        else:
            canvas.disc((x, y), 0.125, map_color(lamp, lambda value: 28 + value // 9))


# Distractors: faces of no class, so that color and outline alone do not identify a sign.


def _no_entry(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, RED, REFLECTIVE)
    canvas.rectangle((0.16, 0.42, 0.84, 0.58), WHITE, REFLECTIVE)


def _give_way(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon([(0.01, 0.06), (0.99, 0.06), (0.5, 0.93)], RED, REFLECTIVE)
    canvas.polygon([(0.16, 0.15), (0.84, 0.15), (0.5, 0.76)], WHITE, REFLECTIVE)


def _arrow(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, BLUE, REFLECTIVE)
    canvas.line([(0.5, 0.8), (0.5, 0.35)], 0.12, WHITE, REFLECTIVE)
    canvas.polygon([(0.5, 0.14), (0.72, 0.42), (0.28, 0.42)], WHITE, REFLECTIVE)


def _parking(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.rectangle((0.005, 0.005, 0.99, 0.99), BLUE, REFLECTIVE, radius=0.05)
    canvas.text(rng.choice(("P", "H", "i")), (0.2, 0.15, 0.8, 0.85), WHITE, 0.04)


def _clock(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, (56, 60, 66))
    canvas.disc((0.5, 0.5), 0.43, WHITE, 60)
    for length in (0.24, 0.36):
        angle = rng.uniform(0, 2 * math.pi)
        tip = (0.5 + length * math.sin(angle), 0.5 - length * math.cos(angle))
        canvas.line([(0.5, 0.5), tip], 0.05, BLACK)


# Class name: (fraction of all signs, face). Slightly unbalanced, like real data sets.
SIGNS: dict[str, tuple[float, DrawFace]] = {
    "speedlimit": (0.31, _speedlimit),
    "trafficlight": (0.26, _trafficlight),
    "crosswalk": (0.23, _crosswalk),
    "stop": (0.20, _stop),
}
DISTRACTORS: tuple[DrawFace, ...] = (_no_entry, _give_way, _arrow, _parking, _clock)
