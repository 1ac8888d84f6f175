"""Draws the street of a synthetic scene: everything except the signs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tfod.sample.signs import (
    BLACK,
    BLUE,
    GLASS,
    GREEN,
    RED,
    STEEL,
    WHITE,
    YELLOW,
    Color,
    Point,
    Rect,
    map_color,
)
from tfod.sample.view import Scene, pick, scale_color, smooth_noise, to_image, vary


def _draw_backdrop(scene: Scene) -> None:
    """Draws the sky with clouds, textured ground, and hills at the horizon."""
    rng, size = scene.rng, (scene.width, scene.height)
    zenith = np.array(scene.lighting.zenith, np.float32)
    skyline = np.array(scene.lighting.skyline, np.float32)
    y = np.arange(scene.height, dtype=np.float32)[:, None, None]
    descent = np.clip(y / scene.horizon, 0, 1)  # 0 at the top of the image, 1 at the horizon
    sky = zenith * (1 - descent) + skyline * descent
    waves = smooth_noise(rng, size, 3, 8) + 0.5 * smooth_noise(rng, size, 11, 24)
    cloud = np.clip(waves, 0, 1.2)[..., None]
    sky = sky + (skyline + 14 - sky) * cloud * rng.uniform(0.2, 0.7)
    soil = pick(rng, (104, 128, 74), (128, 122, 100), (138, 136, 132), (92, 112, 70))
    texture = 7 * smooth_noise(rng, size, 70, 70) + 4 * smooth_noise(rng, size, 6, 12)
    ground = np.array(soil, np.float32) + texture[..., None]
    backdrop = to_image(np.asarray(np.where(y < scene.horizon, sky, ground)))
    scene.canvas.image.paste(backdrop.resize(scene.canvas.image.size, Image.Resampling.NEAREST))
    ridge = scene.horizon - rng.uniform(4, 18) - np.abs(np.cumsum(rng.normal(0, 1.6, 25)))
    top = zip(np.linspace(0, scene.width, 25), ridge, strict=True)
    hills = [(0, scene.horizon + 1), *top, (scene.width, scene.horizon + 1)]
    scene.canvas.polygon(hills, scene.haze(pick(rng, (84, 104, 76), (96, 104, 110)), 60))


def _draw_road(scene: Scene, half_width: float) -> None:
    """Draws a straight road with pavements and lane markings, sometimes with a zebra crossing.

    Args:
      half_width: in meters.
    """
    rng, near, far = scene.rng, 0.6, 400.0
    white = vary(rng, (222, 220, 212), 8)

    def strip(x0: float, x1: float, z0: float, z1: float, color: Color) -> None:
        corners = ((x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1))
        scene.canvas.polygon([scene.project(*corner) for corner in corners], color)

    strip(-half_width - 2.2, half_width + 2.2, near, far, vary(rng, (158, 154, 148), 10))
    strip(-half_width - 0.15, half_width + 0.15, near, far, vary(rng, (186, 184, 178), 6))
    strip(-half_width, half_width, near, far, vary(rng, (92, 93, 96), 10))
    for x in (-half_width + 0.35, half_width - 0.35):
        strip(x - 0.06, x + 0.06, near, far, white)
    dash, phase = rng.uniform(1.5, 3), rng.uniform(0.7, 3)
    for x in (0.0,) if half_width < 5 else (-half_width / 3, half_width / 3):
        for z in phase + 2.5 * dash * np.arange(14):
            strip(x - 0.08, x + 0.08, z, z + dash, white)
    if rng.random() < 0.2:
        z = rng.uniform(5, 14)
        for x in np.arange(-half_width + 0.6, half_width - 0.6, 0.9):
            strip(x, x + 0.5, z, z + 3, white)


def _draw_wall(scene: Scene, start: Point, end: Point, height: float, color: Color) -> None:
    """Draws a wall with windows between two ground points, each (x, z) in meters."""
    rng, length = scene.rng, math.dist(start, end)

    def patch(rect: Rect, color: Color, glow: int = 0) -> None:
        """Draws a part of the wall: u0, y0, u1, y1 in meters, u from `start`, y from the ground."""
        u0, y0, u1, y1 = rect
        x0, x1 = (start[0] + (end[0] - start[0]) * u / length for u in (u0, u1))
        z0, z1 = (start[1] + (end[1] - start[1]) * u / length for u in (u0, u1))
        corners = ((x0, y0, z0), (x1, y0, z1), (x1, y1, z1), (x0, y1, z0))
        outline = [scene.project(*corner) for corner in corners]
        scene.canvas.polygon(outline, scene.haze(color, min(z0, z1)), glow)

    patch((0, 0, length, height), color)
    window_distance, storey = rng.uniform(2.2, 3.4), rng.uniform(2.8, 3.3)
    for y in np.arange(storey, height - 2, storey):
        for u in np.arange(0.6, length - 1.3, window_distance):
            if rng.random() < scene.lighting.lit_windows:
                pane, glow = vary(rng, (246, 218, 160), 12), int(rng.integers(120, 230))
            else:
                pane, glow = vary(rng, GLASS), 0
            patch((u, y + 0.8, u + 1.3, y + 2.2), pane, glow)
    if rng.random() < 0.45:  # a shop window with a shop sign above it
        u = rng.uniform(0.2, max(0.3, length - 4))
        patch((u + 0.2, 0.4, min(length, u + 2.4), 2.3), vary(rng, GLASS))
        shop_sign = pick(rng, RED, BLUE, YELLOW, WHITE, GREEN)
        patch((u, 2.5, min(length, u + rng.uniform(1.5, 5)), 3.2), shop_sign, 90)


def _draw_building(scene: Scene, x: float, near: float, far: float) -> None:
    """Draws a house beside the road.

    Args:
      x: position of the wall along the road, in meters.
      near, far: distances of the start and the end of this wall from the camera, in meters.
    """
    walls = ((176, 150, 126), (150, 104, 84), (198, 190, 176), (132, 136, 142), (182, 170, 132))
    color, height = pick(scene.rng, *walls), scene.rng.uniform(4.5, 15)
    _draw_wall(scene, (x, near), (x, far), height, scale_color(color, 0.82))
    _draw_wall(scene, (x, near), (x + math.copysign(11, x), near), height, color)


def _draw_tree(scene: Scene, x: float, z: float) -> None:
    rng, size = scene.rng, scene.rng.uniform(0.7, 1.5)
    meter = size * scene.focal / z
    trunk = [scene.project(x, y, z) for y in (0, 2.4 * size)]
    scene.canvas.line(trunk, 0.3 * meter, scene.haze(vary(rng, (88, 70, 54), 10), z))
    leaf = pick(rng, (70, 104, 48), (92, 118, 58), (54, 86, 50), (146, 112, 50))
    for brightness in (0.65 + index / 70 for index in range(30)):  # sunlit leaves last, on top
        color = vary(rng, scale_color(leaf, brightness), 8)
        u, v = size * rng.normal(0, (0.62, 0.56))
        center = scene.project(x + u, 3.3 * size + v, z)
        scene.canvas.disc(center, rng.uniform(0.15, 0.45) * meter, scene.haze(color, z))


def _draw_car(scene: Scene, x: float, z: float) -> None:
    """Draws a car from behind with red lights, or from the front with headlights."""
    rng = scene.rng
    body = pick(rng, RED, BLUE, WHITE, (40, 42, 46), (150, 154, 160), (60, 90, 70))

    def part(outline: Sequence[Point], color: Color, glow: int = 0) -> None:
        corners = [scene.project(x + u, y, z) for u, y in outline]
        scene.canvas.polygon(corners, scene.haze(color, z), glow)

    def block(rect: Rect, color: Color, glow: int = 0) -> None:
        u0, y0, u1, y1 = rect
        part([(u0, y0), (u1, y0), (u1, y1), (u0, y1)], color, glow)

    shadow = (34, 34, 36)
    block((-0.95, 0, 0.95, 0.22), shadow)
    for side in (-0.7, 0.7):
        block((side - 0.13, 0, side + 0.13, 0.5), BLACK)
    part([(-0.9, 0.3), (0.9, 0.3), (0.92, 0.8), (0.82, 0.97), (-0.82, 0.97), (-0.92, 0.8)], body)
    part([(-0.82, 0.9), (-0.6, 1.45), (0.6, 1.45), (0.82, 0.9)], body)
    part([(-0.68, 0.95), (-0.53, 1.38), (0.53, 1.38), (0.68, 0.95)], vary(rng, GLASS))
    block((-0.9, 0.28, 0.9, 0.42), map_color(body, lambda value: value // 2))
    block((-0.26, 0.5, 0.26, 0.62), WHITE)
    lamp, glow = ((206, 24, 26), 170) if rng.random() < 0.6 else ((250, 246, 226), 255)
    for side in (-0.72, 0.72):
        block((side - 0.15, 0.66, side + 0.15, 0.84), lamp, glow)


def _draw_billboard(scene: Scene, x: float, z: float) -> None:
    rng = scene.rng
    half_width, height, foot = rng.uniform(0.6, 1.6), rng.uniform(0.9, 2.2), rng.uniform(0.8, 2.5)
    for u in (-0.7 * half_width, 0.7 * half_width):
        leg = [scene.project(x + u, y, z) for y in (0, foot)]
        scene.canvas.line(leg, 0.1 * scene.focal / z, scene.haze(STEEL, z))
    color = pick(rng, RED, BLUE, YELLOW, WHITE, GREEN, (120, 60, 140))
    left, top = scene.project(x - half_width, foot + height, z)
    right, bottom = scene.project(x + half_width, foot, z)
    frame = 0.08 * scene.focal / z

    def inset(margin: float) -> Rect:
        return left + margin, top + margin, right - margin, bottom - margin

    scene.canvas.rectangle(inset(0), scene.haze(WHITE, z), 60)
    scene.canvas.rectangle(inset(frame), scene.haze(color, z), 60)
    word = rng.choice(("SALE", "CAFE", "HOTEL", "24h", "OPEN", "Pizza", "TAXI", "-50%"))
    scene.canvas.text(word, inset(2 * frame), WHITE if sum(color) < 400 else BLACK, 0.04)


def _draw_lamp_post(scene: Scene, x: float, z: float) -> None:
    arm, width = -math.copysign(1.4, x), 0.1 * scene.focal / z
    path = [scene.project(x, 0, z), scene.project(x, 6, z), scene.project(x + arm, 6.3, z)]
    scene.canvas.line(path, width, scene.haze(STEEL, z))
    is_on = scene.lighting.lit_windows > 0.2
    color, glow = ((255, 226, 170), 255) if is_on else ((190, 190, 186), 0)
    scene.canvas.disc(scene.project(x + arm, 6.25, z), 1.6 * width, color, glow)


def draw_street(scene: Scene) -> None:
    """Draws everything except the signs, from far to near."""
    rng, half_width = scene.rng, scene.rng.uniform(2.6, 6.5)
    kerb = half_width + 1.2
    _draw_backdrop(scene)
    _draw_road(scene, half_width)
    objects: list[tuple[float, Callable[[], None]]] = []  # distance and draw function
    for side in (-1, 1):
        near, edge = rng.uniform(4, 25), side * (kerb + rng.uniform(1.2, 4))
        while near < 110 and abs(edge) < kerb + 3.4:  # no houses if the edge is far from the road
            far = near + rng.uniform(7, 18)
            objects.append((near, functools.partial(_draw_building, scene, edge, near, far)))
            near = far + rng.choice((0.2, 3, 9))
    for draw_object, max_count, x_range, z_range in (
        (_draw_tree, 8, (kerb, kerb + 6), (5, 60)),
        (_draw_lamp_post, 3, (kerb, kerb + 0.4), (6, 50)),
        (_draw_billboard, 3, (kerb + 0.5, kerb + 4), (6, 30)),
        (_draw_car, 4, (1.3, half_width - 0.9), (6, 45)),
    ):
        for _ in range(rng.integers(0, max_count + 1)):
            x = rng.choice((-1, 1)) * rng.uniform(*x_range)
            z = math.exp(rng.uniform(*np.log(z_range)))
            objects.append((z, functools.partial(draw_object, scene, x, z)))
    for _, draw in sorted(objects, key=lambda entry: -entry[0]):
        draw()
