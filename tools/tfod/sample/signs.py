"""The faces of the sample's road signs, and the canvas that they and the street are painted on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LIGHT_ASPECT = 0.42  # width over height of a traffic light's housing

Colour = tuple[int, int, int]
Point = tuple[float, float]
Rect = tuple[float, float, float, float]  # xmin, ymin, xmax, ymax

WHITE, BLACK, RED, BLUE = (240, 240, 236), (22, 22, 24), (196, 22, 32), (20, 82, 172)
GREEN, YELLOW, STEEL, GLASS = (30, 120, 70), (242, 190, 20), (120, 122, 125), (62, 74, 88)
SHEET = 255  # glow of a sign's reflecting sheet; `_hang` says how well the headlights reach it


class Canvas:
    """Colours and glow (0 to 255) painted together: what covers a lamp covers its glow too.

    Coordinates are multiplied by `scale` on the way in: a scene is painted in picture pixels, a
    sign face, which has an alpha channel, in fractions of its longer side.
    """

    def __init__(self, mode: str, width: float, height: float, scale: float) -> None:
        size = round(width * scale), round(height * scale)
        self.scale, self.image, self.glow = scale, Image.new(mode, size), Image.new("L", size)
        self._draws = ImageDraw.Draw(self.image), ImageDraw.Draw(self.glow)

    def _paint(self, shape: str, points: Sequence[Point], colour: Colour, glow: int, **how) -> None:
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        for draw, fill in zip(self._draws, (colour, glow), strict=True):
            getattr(draw, shape)(scaled, fill=fill, **how)

    def polygon(self, points: Sequence[Point], colour: Colour, glow: int = 0) -> None:
        self._paint("polygon", points, colour, glow)

    def rectangle(self, rect: Rect, colour: Colour, glow: int = 0, radius: float = 0) -> None:
        how = {"radius": radius * self.scale}
        self._paint("rounded_rectangle", (rect[:2], rect[2:]), colour, glow, **how)

    def disc(self, centre: Point, radius: float, colour: Colour, glow: int = 0) -> None:
        corners = [(centre[0] + side * radius, centre[1] + side * radius) for side in (-1, 1)]
        self._paint("ellipse", corners, colour, glow)

    def line(self, points: Sequence[Point], width: float, colour: Colour, glow: int = 0) -> None:
        self._paint("line", points, colour, glow, width=max(1, round(width * self.scale)))

    def text(self, text: str, rect: Rect, colour: Colour, weight: float) -> None:
        """Writes `text` as large as fits into `rect`; `weight` is the stroke, 0.06 is bold."""
        left, top, right, bottom = (value * self.scale for value in rect)
        font = ImageFont.load_default(size=120)
        stroke = round(weight * 120)
        x0, y0, x1, y1 = font.getbbox(text, stroke_width=stroke)
        stamp = Image.new("L", (round(x1 - x0), round(y1 - y0)))
        ImageDraw.Draw(stamp).text((-x0, -y0), text, 255, font, stroke_width=stroke)
        shrink = min((right - left) / stamp.width, (bottom - top) / stamp.height)
        stamp = stamp.resize([max(1, round(side * shrink)) for side in stamp.size])
        corner = (left + right - stamp.width) / 2, (top + bottom - stamp.height) / 2
        self.image.paste(colour, (round(corner[0]), round(corner[1])), stamp)


# Sign faces. Each paints a canvas one unit high; the border of the canvas is the border of the box.


def _speedlimit(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, RED, SHEET)
    canvas.disc((0.5, 0.5), rng.uniform(0.37, 0.41), WHITE, SHEET)
    canvas.text(str(10 * rng.integers(2, 13)), (0.2, 0.3, 0.8, 0.7), BLACK, 0.06)


def _stop(canvas: Canvas, rng: np.random.Generator) -> None:
    angles = math.pi * (np.arange(8) + 0.5) / 4
    octagon = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    canvas.polygon(0.5 + 0.538 * octagon, WHITE, SHEET)
    canvas.polygon(0.5 + rng.uniform(0.49, 0.51) * octagon, RED, SHEET)
    canvas.text("STOP", (0.12, 0.34, 0.88, 0.66), WHITE, 0.07)


def _crosswalk(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.rectangle((0.005, 0.005, 0.99, 0.99), BLUE, SHEET, radius=0.05)
    canvas.polygon([(0.5, 0.1), (0.92, 0.88), (0.08, 0.88)], WHITE, SHEET)
    facing = rng.choice((-1, 1))
    body = (
        (0.085, (0.0, 0.4), (-0.01, 0.6)),
        (0.035, (-0.01, 0.42), (-0.1, 0.5), (-0.12, 0.58)),
        (0.035, (0.01, 0.42), (0.08, 0.52), (0.14, 0.54)),
        (0.05, (-0.02, 0.57), (-0.07, 0.7), (-0.17, 0.8)),
        (0.05, (0.0, 0.57), (0.08, 0.67), (0.1, 0.8)),
    )
    stripes = [(0.03, (x - 0.04, 0.85), (x + 0.04, 0.85)) for x in (-0.26, -0.13, 0, 0.13, 0.26)]
    for width, *points in (*body, *stripes):
        canvas.line([(0.5 + facing * x, y) for x, y in points], width, BLACK, SHEET)
    canvas.disc((0.5 + facing * 0.01, 0.34), 0.05, BLACK, SHEET)


def _trafficlight(canvas: Canvas, rng: np.random.Generator) -> None:
    shade = int(rng.integers(26, 68))
    canvas.rectangle((0, 0, LIGHT_ASPECT - 0.004, 0.995), (shade,) * 3, 60, radius=0.06)
    lit = rng.choice(3, p=(0.42, 0.16, 0.42))
    for k, lamp in enumerate(((255, 54, 40), (255, 196, 40), (60, 236, 130))):
        x, y = LIGHT_ASPECT / 2, 0.19 + 0.31 * k
        canvas.disc((x, y - 0.02), 0.145, (shade // 2,) * 3)  # the visor
        if k == lit:
            canvas.disc((x, y), 0.125, lamp, 255)
            canvas.disc((x, y), 0.06, tuple(min(255, value + 70) for value in lamp), 255)
        else:
            canvas.disc((x, y), 0.125, tuple(28 + value // 9 for value in lamp))


# Faces of no class, so that colour and outline alone do not tell a sign.


def _no_entry(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, RED, SHEET)
    canvas.rectangle((0.16, 0.42, 0.84, 0.58), WHITE, SHEET)


def _give_way(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon([(0.01, 0.06), (0.99, 0.06), (0.5, 0.93)], RED, SHEET)
    canvas.polygon([(0.16, 0.15), (0.84, 0.15), (0.5, 0.76)], WHITE, SHEET)


def _arrow(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, BLUE, SHEET)
    canvas.line([(0.5, 0.8), (0.5, 0.35)], 0.12, WHITE, SHEET)
    canvas.polygon([(0.5, 0.14), (0.72, 0.42), (0.28, 0.42)], WHITE, SHEET)


def _parking(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.rectangle((0.005, 0.005, 0.99, 0.99), BLUE, SHEET, radius=0.05)
    canvas.text(rng.choice(("P", "H", "i")), (0.2, 0.15, 0.8, 0.85), WHITE, 0.04)


def _clock(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.disc((0.5, 0.5), 0.495, (56, 60, 66))
    canvas.disc((0.5, 0.5), 0.43, WHITE, 60)
    for length in (0.24, 0.36):
        turn = rng.uniform(0, 2 * math.pi)
        tip = (0.5 + length * math.sin(turn), 0.5 - length * math.cos(turn))
        canvas.line([(0.5, 0.5), tip], 0.05, BLACK)


# How often each class is drawn, and by what. Not quite balanced: real data sets never are.
SIGNS = {
    "speedlimit": (0.31, _speedlimit),
    "trafficlight": (0.26, _trafficlight),
    "crosswalk": (0.23, _crosswalk),
    "stop": (0.20, _stop),
}
DISTRACTORS = (_no_entry, _give_way, _arrow, _parking, _clock)
