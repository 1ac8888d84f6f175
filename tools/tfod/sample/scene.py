"""Synthetic street scenes with road signs, drawn with Pillow.

A scene is a small 3D world in meters: x to the right of the camera, y up from the ground, z away
from the camera. It is drawn at twice the final resolution. Next to the colors, a glow map marks
the surfaces that emit light or reflect the headlights, so that one last step can turn the day into
dusk or night.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from tfod.annotation import Box
from tfod.sample.signs import (
    BLACK,
    BLUE,
    DISTRACTORS,
    GLASS,
    GREEN,
    LIGHT_ASPECT,
    RED,
    SIGNS,
    STEEL,
    WHITE,
    YELLOW,
    Canvas,
    Color,
    Point,
    Rect,
    map_color,
)

MIN_VISIBLE = 0.6  # fraction of a sign that must be inside the image
SUPERSAMPLE = 2  # canvas pixels per image pixel
FACE_PIXELS = 384  # longer side of a sign face before it is resized and warped
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


def _vary(rng: np.random.Generator, color: Color, spread: float = 18) -> Color:
    """Varies the brightness of a color, and its channels by a third as much."""
    brightness, *offsets = rng.standard_normal(4) * (spread, spread / 3, spread / 3, spread / 3)
    red, green, blue = (
        round(min(255, max(0, value + brightness + offset)))
        for value, offset in zip(color, offsets, strict=True)
    )
    return red, green, blue


def _pick(rng: np.random.Generator, *colors: Color) -> Color:
    return _vary(rng, colors[rng.integers(len(colors))])


def _scale(color: Color, factor: float) -> Color:
    return map_color(color, lambda value: round(value * factor))


def _noise(rng: np.random.Generator, size: tuple[int, int], columns: int, rows: int) -> np.ndarray:
    """Returns smooth noise around 0, float32 `[height, width]`: an enlarged grid of random values.

    Args:
      size: (width, height).
    """
    coarse = Image.fromarray(rng.normal(size=(rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def _to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _draw_backdrop(scene: Scene) -> None:
    """Draws the sky with clouds, textured ground, and hills at the horizon."""
    rng, size = scene.rng, (scene.width, scene.height)
    zenith = np.array(scene.lighting.zenith, np.float32)
    skyline = np.array(scene.lighting.skyline, np.float32)
    y = np.arange(scene.height, dtype=np.float32)[:, None, None]
    descent = np.clip(y / scene.horizon, 0, 1)  # 0 at the top of the image, 1 at the horizon
    sky = zenith * (1 - descent) + skyline * descent
    cloud = np.clip(_noise(rng, size, 3, 8) + 0.5 * _noise(rng, size, 11, 24), 0, 1.2)[..., None]
    sky = sky + (skyline + 14 - sky) * cloud * rng.uniform(0.2, 0.7)
    soil = _pick(rng, (104, 128, 74), (128, 122, 100), (138, 136, 132), (92, 112, 70))
    texture = 7 * _noise(rng, size, 70, 70) + 4 * _noise(rng, size, 6, 12)
    ground = np.array(soil, np.float32) + texture[..., None]
    backdrop = _to_image(np.asarray(np.where(y < scene.horizon, sky, ground)))
    scene.canvas.image.paste(backdrop.resize(scene.canvas.image.size, Image.Resampling.NEAREST))
    ridge = scene.horizon - rng.uniform(4, 18) - np.abs(np.cumsum(rng.normal(0, 1.6, 25)))
    top = zip(np.linspace(0, scene.width, 25), ridge, strict=True)
    hills = [(0, scene.horizon + 1), *top, (scene.width, scene.horizon + 1)]
    scene.canvas.polygon(hills, scene.haze(_pick(rng, (84, 104, 76), (96, 104, 110)), 60))


def _draw_road(scene: Scene, half_width: float) -> None:
    """Draws a straight road with pavements and lane markings, sometimes with a zebra crossing.

    Args:
      half_width: in meters.
    """
    rng, near, far = scene.rng, 0.6, 400.0
    white = _vary(rng, (222, 220, 212), 8)

    def strip(x0: float, x1: float, z0: float, z1: float, color: Color) -> None:
        corners = ((x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1))
        scene.canvas.polygon([scene.project(*corner) for corner in corners], color)

    strip(-half_width - 2.2, half_width + 2.2, near, far, _vary(rng, (158, 154, 148), 10))
    strip(-half_width - 0.15, half_width + 0.15, near, far, _vary(rng, (186, 184, 178), 6))
    strip(-half_width, half_width, near, far, _vary(rng, (92, 93, 96), 10))
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
                pane, glow = _vary(rng, (246, 218, 160), 12), int(rng.integers(120, 230))
            else:
                pane, glow = _vary(rng, GLASS), 0
            patch((u, y + 0.8, u + 1.3, y + 2.2), pane, glow)
    if rng.random() < 0.45:  # a shop window with a shop sign above it
        u = rng.uniform(0.2, max(0.3, length - 4))
        patch((u + 0.2, 0.4, min(length, u + 2.4), 2.3), _vary(rng, GLASS))
        shop_sign = _pick(rng, RED, BLUE, YELLOW, WHITE, GREEN)
        patch((u, 2.5, min(length, u + rng.uniform(1.5, 5)), 3.2), shop_sign, 90)


def _draw_building(scene: Scene, x: float, near: float, far: float) -> None:
    """Draws a house beside the road.

    Args:
      x: position of the wall along the road, in meters.
      near, far: distances of the start and the end of this wall from the camera, in meters.
    """
    walls = ((176, 150, 126), (150, 104, 84), (198, 190, 176), (132, 136, 142), (182, 170, 132))
    color, height = _pick(scene.rng, *walls), scene.rng.uniform(4.5, 15)
    _draw_wall(scene, (x, near), (x, far), height, _scale(color, 0.82))
    _draw_wall(scene, (x, near), (x + math.copysign(11, x), near), height, color)


def _draw_tree(scene: Scene, x: float, z: float) -> None:
    rng, size = scene.rng, scene.rng.uniform(0.7, 1.5)
    meter = size * scene.focal / z
    trunk = [scene.project(x, y, z) for y in (0, 2.4 * size)]
    scene.canvas.line(trunk, 0.3 * meter, scene.haze(_vary(rng, (88, 70, 54), 10), z))
    leaf = _pick(rng, (70, 104, 48), (92, 118, 58), (54, 86, 50), (146, 112, 50))
    for brightness in (0.65 + index / 70 for index in range(30)):  # sunlit leaves last, on top
        color = _vary(rng, _scale(leaf, brightness), 8)
        u, v = size * rng.normal(0, (0.62, 0.56))
        center = scene.project(x + u, 3.3 * size + v, z)
        scene.canvas.disc(center, rng.uniform(0.15, 0.45) * meter, scene.haze(color, z))


def _draw_car(scene: Scene, x: float, z: float) -> None:
    """Draws a car from behind with red lights, or from the front with headlights."""
    rng = scene.rng
    body = _pick(rng, RED, BLUE, WHITE, (40, 42, 46), (150, 154, 160), (60, 90, 70))

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
    part([(-0.68, 0.95), (-0.53, 1.38), (0.53, 1.38), (0.68, 0.95)], _vary(rng, GLASS))
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
    color = _pick(rng, RED, BLUE, YELLOW, WHITE, GREEN, (120, 60, 140))
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


def _draw_street(scene: Scene) -> None:
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


@dataclass(frozen=True)
class Sign:
    """A sign face at its position in the scene. Lengths are in image pixels unless stated.

    Attributes:
      name: class name; None for a distractor.
      depth: distance from the camera in meters.
      side: longer side of the face before perspective.
      center: of the face.
      image, glow: the warped face, in canvas resolution.
      corner: top left corner of `image` on the canvas, in canvas pixels.
      box: xmin, ymin, xmax, ymax of the face, clipped to the image.
      visible: fraction of the face inside the image.
      pole: xmin, ymin, xmax, ymax of the pole.
    """

    name: str | None
    depth: float
    side: float
    center: Point
    image: Image.Image
    glow: Image.Image
    corner: tuple[int, int]
    box: Rect
    visible: float
    pole: Rect


def _warp_face(
    face: Canvas, side: float, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Resizes a face, rotates it away from the camera, and projects it in perspective.

    Args:
      side: longer side of the face in image pixels.

    Returns:
      The face and its glow in canvas resolution.
    """
    yaw, pitch, roll = np.clip(rng.normal(0, (0.36, 0.13, 0.05)), -0.9, 0.9)
    canvas_side, padding = side * SUPERSAMPLE, 2  # warping blends the edge with the padding
    width, height = (round(canvas_side * length / FACE_PIXELS) for length in face.image.size)
    padded_width, padded_height = width + 2 * padding, height + 2 * padding
    corners = np.array(
        [(0, 0), (padded_width, 0), (padded_width, padded_height), (0, padded_height)], float
    )
    x, y = (corners - (padded_width / 2, padded_height / 2)).T
    x, z = x * math.cos(yaw), x * math.sin(yaw)
    y, z = y * math.cos(pitch) - z * math.sin(pitch), y * math.sin(pitch) + z * math.cos(pitch)
    x, y = np.stack((x, y)) / (1 + 0.3 * z / canvas_side)
    x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
    x, y = x - x.min(), y - y.min()
    # Pillow needs the eight coefficients of the inverse map, from the warped image to the face.
    equations = []
    for px, py, (sx, sy) in zip(x, y, corners, strict=True):
        equations.append((px, py, 1, 0, 0, 0, -sx * px, -sx * py))
        equations.append((0, 0, 0, px, py, 1, -sy * px, -sy * py))
    inverse = np.linalg.solve(equations, corners.ravel()).tolist()

    def warp(layer: Image.Image) -> Image.Image:
        padded = Image.new(layer.mode, (padded_width, padded_height))
        padded.paste(layer.resize((width, height), Image.Resampling.BOX), (padding, padding))
        size = (math.ceil(x.max()), math.ceil(y.max()))
        perspective = Image.Transform.PERSPECTIVE
        return padded.transform(size, perspective, inverse, Image.Resampling.BICUBIC)

    return warp(face.image), warp(face.glow)


def _overlap(a: Rect, b: Rect) -> bool:
    """Returns whether the rectangles overlap or are less than one pixel apart."""
    return a[0] < b[2] + 1 and b[0] < a[2] + 1 and a[1] < b[3] + 1 and b[1] < a[3] + 1


def _place_sign(scene: Scene, name: str | None, placed: Sequence[Sign]) -> Sign | None:
    """Places a face at random where it covers no other sign and no other sign covers it.

    Its box encloses the image pixels that the face covers by at least half.

    Args:
      name: class name; None draws a random distractor.
      placed: the signs placed before.

    Returns:
      The sign; None if no position was found.
    """
    rng, is_light = scene.rng, name == "trafficlight"
    face = Canvas("RGBA", LIGHT_ASPECT if is_light else 1, 1, FACE_PIXELS)
    draw_face = SIGNS[name][1] if name else DISTRACTORS[rng.integers(len(DISTRACTORS))]
    draw_face(face, rng)
    view = scene.view
    smallest, largest = view.sign_side if name else view.distractor_side
    for _ in range(40):
        side = math.exp(
            rng.uniform(math.log(view.light_side if is_light else smallest), math.log(largest))
        )
        depth = scene.focal * rng.uniform(0.65, 0.95) / side  # of a face 0.65 to 0.95 m high
        margin = side * (-0.1 if rng.random() < 0.2 else 0.55)  # negative: the border may cut it
        x = rng.uniform(margin, scene.width - margin)
        y = scene.project(0, rng.uniform(*view.height), depth)[1]
        y = np.clip(y, max(margin, 0.2 * side), scene.height - margin)
        upper = placed[-1] if placed and not is_light and rng.random() < 0.15 else None
        if upper:  # on the pole of the previous sign, below it
            side, depth = upper.side * rng.uniform(0.85, 1.05), upper.depth
            x, y = upper.center[0], upper.center[1] + 0.56 * (upper.side + side)
        image, glow = _warp_face(face, side, rng)
        corner = (
            round(x * SUPERSAMPLE - image.width / 2),
            round(y * SUPERSAMPLE - image.height / 2),
        )
        alpha = image.getchannel("A")
        mask = Image.new("L", scene.canvas.image.size)
        mask.paste(alpha, corner)
        box = mask.reduce(SUPERSAMPLE).point(lambda value: 255 * (value >= 128)).getbbox()
        visible = np.asarray(mask).sum(dtype=float) / np.asarray(alpha).sum(dtype=float)
        half_pole = max(0.6, 0.035 * scene.focal / depth)
        pole = (x - half_pole, y, x + half_pole, max(y + side, scene.project(0, 0, depth)[1]))
        if box is None or visible < MIN_VISIBLE:
            continue
        if any(
            _overlap(box, other.box)
            or _overlap(pole, other.box)
            or (other is not upper and _overlap(box, other.pole))
            for other in placed
        ):
            continue
        if not is_light:  # how well the headlights reach the sign
            reflected = rng.uniform(0.35, 0.75)
            glow = glow.point([round(value * reflected) for value in range(256)])
        return Sign(name, depth, side, (x, y), image, glow, corner, box, visible, pole)
    return None


def _weather(face: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Fades the colors of a sign face and shades it. The image is RGBA."""
    fade, shade = rng.uniform(0, 0.22), rng.uniform(0.72, 1.06) * rng.uniform(0.88, 1.08, 2)
    pixels = np.asarray(face).astype(np.float32)
    pixels[..., :3] = pixels[..., :3] * (1 - fade) + 128 * fade
    gradient = np.linspace(shade[0], shade[1], num=len(pixels), dtype=np.float32)
    pixels[..., :3] *= gradient[:, None, None]
    return _to_image(pixels)


def _draw_signs(scene: Scene) -> list[Box]:
    """Draws signs and distractors from far to near, and returns the boxes of the signs."""
    rng, classes = scene.rng, list(SIGNS)
    counts = scene.view.sign_counts
    count = list(counts)[rng.choice(len(counts), p=list(counts.values()))]
    indices = rng.choice(len(classes), count, p=[fraction for fraction, _ in SIGNS.values()])
    distractors = int(rng.choice(4, p=(0.35, 0.35, 0.2, 0.1)))
    names = [*(classes[index] for index in indices), *[None] * distractors]
    placed: list[Sign] = []
    for name in names:
        if sign := _place_sign(scene, name, placed):
            placed.append(sign)
    placed.sort(key=lambda sign: -sign.depth)
    for sign in placed:
        scene.canvas.rectangle(sign.pole, scene.haze(_vary(rng, STEEL, 10), sign.depth))
        face = _weather(sign.image, rng)
        scene.canvas.image.paste(face, sign.corner, face)
        scene.canvas.glow.paste(sign.glow, sign.corner, face)
    return [
        Box(sign.name, *sign.box, truncated=sign.visible < 0.98) for sign in placed if sign.name
    ]


def _motion_blur(angle: float) -> ImageFilter.Kernel:
    """Returns a blur along a line of five pixels, the largest kernel that Pillow supports."""
    kernel = np.zeros((5, 5))
    for step in np.linspace(-2, 2, 9):
        kernel[round(2 + step * math.sin(angle)), round(2 + step * math.cos(angle))] += 1
    return ImageFilter.Kernel((5, 5), kernel.ravel().tolist())


def _photograph(scene: Scene) -> Image.Image:
    """Returns the camera image: applies light, bloom, blur, noise, sometimes JPEG artifacts."""
    rng, lighting = scene.rng, scene.lighting
    pixels = np.asarray(scene.canvas.image.reduce(SUPERSAMPLE), np.float32)
    glow = np.asarray(scene.canvas.glow.reduce(SUPERSAMPLE), np.float32)[..., None] / 255
    gain, size = rng.uniform(*lighting.gain), (scene.width, scene.height)
    darkness = max(0, 1 - gain)
    bloom = _to_image(pixels * (darkness * glow**2)).reduce(2)  # a smaller image blurs faster
    bloom = bloom.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.5))).resize(size)
    shade = _noise(rng, size, 4, 4)[..., None]
    pixels *= (1 + rng.uniform(0.02, 0.1) * shade) * (gain + darkness * glow)
    pixels *= (np.array(lighting.tint) * rng.normal(1, 0.03, 3)).astype(np.float32)
    pixels += np.asarray(bloom, np.float32)
    image = _to_image((pixels - 110) * rng.uniform(0.85, 1.12) + 110)
    blur = rng.random()
    if blur < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.3)))
    elif blur < 0.5:
        image = image.filter(_motion_blur(rng.uniform(0, math.pi)))
    noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0.2, 1) * lighting.noise
    image = _to_image(np.asarray(image) + noise)
    if rng.random() < 0.3:
        compressed = io.BytesIO()
        image.save(compressed, "JPEG", quality=int(rng.integers(35, 80)))
        image = Image.open(compressed).convert("RGB")
    return image


def make_scene(seed: int, index: int, view: View = STREET) -> tuple[Image.Image, list[Box]]:
    """Returns one RGB image of a synthetic data set, and its ground truth.

    The result depends only on the arguments, so scenes can be made in any order. Each box encloses
    the sign face in whole pixels (xmin, ymin, xmax, ymax as edges): the housing of a traffic light
    is included, poles are not. A box cut by the image border is clipped and marked as truncated.

    Args:
      seed: the data set.
      index: the image in the data set, from 0.
      view: the sizes of the image and of its signs.
    """
    rng = np.random.default_rng([seed, index])
    base_size = view.sizes[rng.integers(len(view.sizes))]
    width, height = (side + int(rng.integers(-12, 13)) for side in base_size)
    scene = Scene(
        view=view,
        canvas=Canvas("RGB", width, height, SUPERSAMPLE),
        rng=rng,
        lighting=LIGHTINGS[
            rng.choice(len(LIGHTINGS), p=[lighting.fraction for lighting in LIGHTINGS])
        ],
        width=width,
        height=height,
        center=width * rng.uniform(0.25, 0.75),
        horizon=height * rng.uniform(0.42, 0.78),
        focal=max(width, height) * rng.uniform(0.8, 1.3),
    )
    _draw_street(scene)
    boxes = _draw_signs(scene)  # last, so that the street hides no sign
    return _photograph(scene), boxes
