"""Street scenes with road signs, painted with Pillow.

A scene is painted twice as large as it is saved, from a little world in metres: x to the right of
the camera, y up from the ground, z ahead. Beside its colours a canvas keeps a mask of what shines
by itself or throws headlights back, so that one pass at the end can turn the day into dusk or
night.
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
    Colour,
    Point,
    Rect,
)

SIGN_COUNT_SHARES = (0.05, 0.47, 0.27, 0.14, 0.07)  # of scenes that show 0, 1, 2, 3, 4 signs
SIZES = ((400, 300), (300, 400), (400, 400))  # width, height in pixels, before a little jitter
SIGN_PIXELS = (30, 190)  # longer side of a sign face, before it is turned away from the camera
MIN_VISIBLE = 0.6  # of a sign that the border of the picture cuts
SUPERSAMPLE = 2  # canvas pixels a picture pixel
FACE = 384  # pixels of the longer side of a sign face as drawn, before it is shrunk and warped
EYE = 1.5  # height of the camera above the ground in metres


@dataclass(frozen=True)
class Mood:
    """Light of a scene. `gain` dims all that does not glow; `lit` is the share of lit windows."""

    share: float
    zenith: Colour
    skyline: Colour
    gain: tuple[float, float]
    tint: tuple[float, float, float]
    lit: float
    noise: float


MOODS = (
    Mood(0.40, (84, 146, 218), (206, 224, 240), (0.90, 1.12), (1.00, 1.00, 0.98), 0.0, 4),
    Mood(0.26, (164, 170, 178), (208, 211, 213), (0.74, 0.96), (0.97, 1.00, 1.02), 0.1, 5),
    Mood(0.17, (112, 116, 168), (248, 186, 128), (0.50, 0.78), (1.10, 0.96, 0.84), 0.3, 7),
    Mood(0.17, (40, 46, 82), (96, 88, 104), (0.34, 0.50), (0.94, 0.97, 1.08), 0.4, 10),
)


@dataclass(frozen=True)
class Scene:
    """A canvas and the pinhole camera that looks at the world; lengths in picture pixels."""

    canvas: Canvas
    rng: np.random.Generator
    mood: Mood
    width: int
    height: int
    centre: float  # x where the road meets the horizon
    horizon: float
    focal: float

    def point(self, x: float, y: float, z: float) -> Point:
        """Where the point (x, y, z) in metres falls in the picture."""
        scale = self.focal / z
        return self.centre + x * scale, self.horizon - (y - EYE) * scale

    def haze(self, colour: Colour, z: float) -> Colour:
        """`colour` seen through z metres of air."""
        clear = math.exp(-z / 90)
        pairs = zip(colour, self.mood.skyline, strict=True)
        return tuple(round(near * clear + far * (1 - clear)) for near, far in pairs)


def _jitter(rng: np.random.Generator, colour: Colour, spread: float = 18) -> Colour:
    all_three, *each = rng.standard_normal(4) * (spread, spread / 3, spread / 3, spread / 3)
    return tuple(
        round(min(255, max(0, value + all_three + own)))
        for value, own in zip(colour, each, strict=True)
    )


def _pick(rng: np.random.Generator, *colours: Colour) -> Colour:
    return _jitter(rng, colours[rng.integers(len(colours))])


def _noise(rng: np.random.Generator, size: tuple[int, int], columns: int, rows: int) -> np.ndarray:
    """Smooth noise about 0, float32 [height, width]: columns * rows random values, enlarged."""
    coarse = Image.fromarray(rng.normal(size=(rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _paint_backdrop(scene: Scene) -> None:
    """Sky with clouds above the horizon, textured ground below it, hills in between."""
    rng, mood, size = scene.rng, scene.mood, (scene.width, scene.height)
    y = np.arange(scene.height, dtype=np.float32)[:, None, None]
    up = np.clip(y / scene.horizon, 0, 1)
    sky = np.float32(mood.zenith) * (1 - up) + np.float32(mood.skyline) * up
    cloud = np.clip(_noise(rng, size, 3, 8) + 0.5 * _noise(rng, size, 11, 24), 0, 1.2)[..., None]
    sky = sky + (np.float32(mood.skyline) + 14 - sky) * cloud * rng.uniform(0.2, 0.7)
    soil = _pick(rng, (104, 128, 74), (128, 122, 100), (138, 136, 132), (92, 112, 70))
    texture = 7 * _noise(rng, size, 70, 70) + 4 * _noise(rng, size, 6, 12)
    backdrop = np.where(y < scene.horizon, sky, np.float32(soil) + texture[..., None])
    enlarged = _picture(backdrop).resize(scene.canvas.image.size, Image.Resampling.NEAREST)
    scene.canvas.image.paste(enlarged)
    ridge = scene.horizon - rng.uniform(4, 18) - np.abs(np.cumsum(rng.normal(0, 1.6, 25)))
    top = zip(np.linspace(0, scene.width, 25), ridge, strict=True)
    hills = [(0, scene.horizon + 1), *top, (scene.width, scene.horizon + 1)]
    scene.canvas.polygon(hills, scene.haze(_pick(rng, (84, 104, 76), (96, 104, 110)), 60))


def _paint_road(scene: Scene, half: float) -> None:
    """A straight road 2 * `half` metres wide with pavements, lines and at times a zebra."""
    rng, near, far = scene.rng, 0.6, 400.0
    paint = _jitter(rng, (222, 220, 212), 8)

    def strip(x0: float, x1: float, z0: float, z1: float, colour: Colour) -> None:
        corners = ((x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1))
        scene.canvas.polygon([scene.point(*corner) for corner in corners], colour)

    strip(-half - 2.2, half + 2.2, near, far, _jitter(rng, (158, 154, 148), 10))
    strip(-half - 0.15, half + 0.15, near, far, _jitter(rng, (186, 184, 178), 6))
    strip(-half, half, near, far, _jitter(rng, (92, 93, 96), 10))
    for x in (-half + 0.35, half - 0.35):
        strip(x - 0.06, x + 0.06, near, far, paint)
    dash, phase = rng.uniform(1.5, 3), rng.uniform(0.7, 3)
    for x in (0.0,) if half < 5 else (-half / 3, half / 3):
        for z in phase + 2.5 * dash * np.arange(14):
            strip(x - 0.08, x + 0.08, z, z + dash, paint)
    if rng.random() < 0.2:
        z = rng.uniform(5, 14)
        for x in np.arange(-half + 0.6, half - 0.6, 0.9):
            strip(x, x + 0.5, z, z + 3, paint)


def _paint_wall(scene: Scene, a: Point, b: Point, height: float, colour: Colour) -> None:
    """A wall with windows between the ground points a and b, each (x, z) in metres."""
    rng, length = scene.rng, math.dist(a, b)

    def patch(rect: Rect, paint: Colour, glow: int = 0) -> None:
        """Part of the wall, u0 y0 u1 y1: u in metres from a, y in metres from the ground."""
        u0, y0, u1, y1 = rect
        x0, x1 = (a[0] + (b[0] - a[0]) * u / length for u in (u0, u1))
        z0, z1 = (a[1] + (b[1] - a[1]) * u / length for u in (u0, u1))
        corners = ((x0, y0, z0), (x1, y0, z1), (x1, y1, z1), (x0, y1, z0))
        outline = [scene.point(*corner) for corner in corners]
        scene.canvas.polygon(outline, scene.haze(paint, min(z0, z1)), glow)

    patch((0, 0, length, height), colour)
    pitch, storey = rng.uniform(2.2, 3.4), rng.uniform(2.8, 3.3)
    for y in np.arange(storey, height - 2, storey):
        for u in np.arange(0.6, length - 1.3, pitch):
            if rng.random() < scene.mood.lit:
                pane, glow = _jitter(rng, (246, 218, 160), 12), int(rng.integers(120, 230))
            else:
                pane, glow = _jitter(rng, GLASS), 0
            patch((u, y + 0.8, u + 1.3, y + 2.2), pane, glow)
    if rng.random() < 0.45:  # a shop window under its sign
        u = rng.uniform(0.2, max(0.3, length - 4))
        patch((u + 0.2, 0.4, min(length, u + 2.4), 2.3), _jitter(rng, GLASS))
        shop = _pick(rng, RED, BLUE, YELLOW, WHITE, GREEN)
        patch((u, 2.5, min(length, u + rng.uniform(1.5, 5)), 3.2), shop, 90)


def _paint_building(scene: Scene, x: float, near: float, far: float) -> None:
    """A house beside the road whose corner stands at x, from `near` to `far` metres ahead."""
    walls = ((176, 150, 126), (150, 104, 84), (198, 190, 176), (132, 136, 142), (182, 170, 132))
    colour, height = _pick(scene.rng, *walls), scene.rng.uniform(4.5, 15)
    shaded = tuple(round(value * 0.82) for value in colour)
    _paint_wall(scene, (x, near), (x, far), height, shaded)
    _paint_wall(scene, (x, near), (x + math.copysign(11, x), near), height, colour)


def _paint_tree(scene: Scene, x: float, z: float) -> None:
    rng, size = scene.rng, scene.rng.uniform(0.7, 1.5)
    metre = size * scene.focal / z
    trunk = [scene.point(x, y, z) for y in (0, 2.4 * size)]
    scene.canvas.line(trunk, 0.3 * metre, scene.haze(_jitter(rng, (88, 70, 54), 10), z))
    leaf = _pick(rng, (70, 104, 48), (92, 118, 58), (54, 86, 50), (146, 112, 50))
    for k in range(30):  # from the dark inside to the leaves in the sun
        tone = _jitter(rng, tuple(round(value * (0.65 + k / 70)) for value in leaf), 8)
        u, v = size * rng.normal(0, (0.62, 0.56))
        centre = scene.point(x + u, 3.3 * size + v, z)
        scene.canvas.disc(centre, rng.uniform(0.15, 0.45) * metre, scene.haze(tone, z))


def _paint_car(scene: Scene, x: float, z: float) -> None:
    """A car seen from behind, or from the front with its headlights on."""
    rng = scene.rng
    body = _pick(rng, RED, BLUE, WHITE, (40, 42, 46), (150, 154, 160), (60, 90, 70))

    def part(outline: Sequence[Point], colour: Colour, glow: int = 0) -> None:
        corners = [scene.point(x + u, y, z) for u, y in outline]
        scene.canvas.polygon(corners, scene.haze(colour, z), glow)

    def block(rect: Rect, colour: Colour, glow: int = 0) -> None:
        u0, y0, u1, y1 = rect
        part([(u0, y0), (u1, y0), (u1, y1), (u0, y1)], colour, glow)

    block((-0.95, 0, 0.95, 0.22), (34, 34, 36))  # its shadow
    for side in (-0.7, 0.7):
        block((side - 0.13, 0, side + 0.13, 0.5), BLACK)
    part([(-0.9, 0.3), (0.9, 0.3), (0.92, 0.8), (0.82, 0.97), (-0.82, 0.97), (-0.92, 0.8)], body)
    part([(-0.82, 0.9), (-0.6, 1.45), (0.6, 1.45), (0.82, 0.9)], body)
    part([(-0.68, 0.95), (-0.53, 1.38), (0.53, 1.38), (0.68, 0.95)], _jitter(rng, GLASS))
    block((-0.9, 0.28, 0.9, 0.42), tuple(value // 2 for value in body))
    block((-0.26, 0.5, 0.26, 0.62), WHITE)
    lamp, glow = ((206, 24, 26), 170) if rng.random() < 0.6 else ((250, 246, 226), 255)
    for side in (-0.72, 0.72):
        block((side - 0.15, 0.66, side + 0.15, 0.84), lamp, glow)


def _paint_billboard(scene: Scene, x: float, z: float) -> None:
    rng = scene.rng
    half, height, foot = rng.uniform(0.6, 1.6), rng.uniform(0.9, 2.2), rng.uniform(0.8, 2.5)
    for u in (-0.7 * half, 0.7 * half):
        leg = [scene.point(x + u, y, z) for y in (0, foot)]
        scene.canvas.line(leg, 0.1 * scene.focal / z, scene.haze(STEEL, z))
    board = _pick(rng, RED, BLUE, YELLOW, WHITE, GREEN, (120, 60, 140))
    rect = (*scene.point(x - half, foot + height, z), *scene.point(x + half, foot, z))
    scene.canvas.rectangle(rect, scene.haze(WHITE, z), 60)
    rim = np.multiply((1, 1, -1, -1), 0.08 * scene.focal / z)
    scene.canvas.rectangle(tuple(rect + rim), scene.haze(board, z), 60)
    word = rng.choice(("SALE", "CAFE", "HOTEL", "24h", "OPEN", "Pizza", "TAXI", "-50%"))
    scene.canvas.text(word, tuple(rect + 2 * rim), WHITE if sum(board) < 400 else BLACK, 0.04)


def _paint_lamp_post(scene: Scene, x: float, z: float) -> None:
    arm, width = -math.copysign(1.4, x), 0.1 * scene.focal / z
    path = [scene.point(x, 0, z), scene.point(x, 6, z), scene.point(x + arm, 6.3, z)]
    scene.canvas.line(path, width, scene.haze(STEEL, z))
    colour, glow = ((255, 226, 170), 255) if scene.mood.lit > 0.2 else ((190, 190, 186), 0)
    scene.canvas.disc(scene.point(x + arm, 6.25, z), 1.6 * width, colour, glow)


def _paint_street(scene: Scene) -> None:
    """Everything but the signs, far to near."""
    rng, half = scene.rng, scene.rng.uniform(2.6, 6.5)
    kerb = half + 1.2
    _paint_backdrop(scene)
    _paint_road(scene, half)
    things: list[tuple[float, Callable[[], None]]] = []
    for side in (-1, 1):
        near, edge = rng.uniform(4, 25), side * (kerb + rng.uniform(1.2, 4))
        while near < 110 and abs(edge) < kerb + 3.4:  # else that side is open country
            far = near + rng.uniform(7, 18)
            things.append((near, functools.partial(_paint_building, scene, edge, near, far)))
            near = far + rng.choice((0.2, 3, 9))
    for paint, most, across, ahead in (
        (_paint_tree, 8, (kerb, kerb + 6), (5, 60)),
        (_paint_lamp_post, 3, (kerb, kerb + 0.4), (6, 50)),
        (_paint_billboard, 3, (kerb + 0.5, kerb + 4), (6, 30)),
        (_paint_car, 4, (1.3, half - 0.9), (6, 45)),
    ):
        for _ in range(rng.integers(0, most + 1)):
            x, z = rng.choice((-1, 1)) * rng.uniform(*across), math.exp(rng.uniform(*np.log(ahead)))
            things.append((z, functools.partial(paint, scene, x, z)))
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()


@dataclass(frozen=True)
class Sign:
    """A face where it hangs. `name` is None for a distractor; lengths in picture pixels."""

    name: str | None
    depth: float  # metres
    pixels: float
    centre: Point
    image: Image.Image
    glow: Image.Image
    corner: tuple[int, int]  # of the image, in canvas pixels
    box: Rect
    visible: float  # the share of the face inside the picture
    pole: Rect


def _turned(face: Canvas, pixels: float, rng: np.random.Generator) -> list[Image.Image]:
    """The face and its glow in canvas pixels, turned away from the camera in perspective."""
    yaw, pitch, roll = np.clip(rng.normal(0, (0.36, 0.13, 0.05)), -0.9, 0.9)
    long, pad = pixels * SUPERSAMPLE, 2  # the warp blends the edge of the face into the padding
    width, height = (round(long * side / FACE) for side in face.image.size)
    u, v = width + 2 * pad, height + 2 * pad
    source = np.array([(0, 0), (u, 0), (u, v), (0, v)], float)
    x, y = (source - (u / 2, v / 2)).T
    x, z = x * math.cos(yaw), x * math.sin(yaw)
    y, z = y * math.cos(pitch) - z * math.sin(pitch), y * math.sin(pitch) + z * math.cos(pitch)
    x, y = np.stack((x, y)) / (1 + 0.3 * z / long)
    x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
    x, y = x - x.min(), y - y.min()
    # Eight equations for the map from the turned picture back to the face, as Pillow wants it.
    rows = []
    for px, py, (sx, sy) in zip(x, y, source, strict=True):
        rows += [(px, py, 1, 0, 0, 0, -sx * px, -sx * py), (0, 0, 0, px, py, 1, -sy * px, -sy * py)]
    back = np.linalg.solve(rows, source.ravel()).tolist()
    size, turned = (math.ceil(x.max()), math.ceil(y.max())), []
    for layer in (face.image, face.glow):
        flat = Image.new(layer.mode, (u, v))
        flat.paste(layer.resize((width, height), Image.Resampling.BOX), (pad, pad))
        warp = Image.Transform.PERSPECTIVE
        turned.append(flat.transform(size, warp, back, Image.Resampling.BICUBIC))
    return turned


def _overlap(a: Rect, b: Rect) -> bool:
    """Whether a and b share ground or are less than a pixel apart."""
    return a[0] < b[2] + 1 and b[0] < a[2] + 1 and a[1] < b[3] + 1 and b[1] < a[3] + 1


def _hang(scene: Scene, name: str | None, taken: Sequence[Sign]) -> Sign | None:
    """Finds room for a face that neither covers nor is covered by another; None if there is none.

    Its box holds the picture pixels that the face covers by half or more.
    """
    rng, light = scene.rng, name == "trafficlight"
    face = Canvas("RGBA", LIGHT_ASPECT if light else 1, 1, FACE)
    paint = SIGNS[name][1] if name else DISTRACTORS[rng.integers(len(DISTRACTORS))]
    paint(face, rng)
    low, high = SIGN_PIXELS if name else (14, 70)
    for _ in range(40):
        pixels = math.exp(rng.uniform(math.log(36 if light else low), math.log(high)))
        depth = scene.focal * rng.uniform(0.65, 0.95) / pixels  # of a face 0.65 to 0.95 m high
        margin = pixels * (-0.1 if rng.random() < 0.2 else 0.55)  # at times cut by the border
        x = rng.uniform(margin, scene.width - margin)
        y = scene.point(0, rng.uniform(1.8, 3.4), depth)[1]
        y = np.clip(y, max(margin, 0.2 * pixels), scene.height - margin)
        mate = taken[-1] if taken and not light and rng.random() < 0.15 else None
        if mate:  # below the last one, on its pole
            pixels, depth = mate.pixels * rng.uniform(0.85, 1.05), mate.depth
            x, y = mate.centre[0], mate.centre[1] + 0.56 * (mate.pixels + pixels)
        image, glow = _turned(face, pixels, rng)
        corner = (
            round(x * SUPERSAMPLE - image.width / 2),
            round(y * SUPERSAMPLE - image.height / 2),
        )
        mask = Image.new("L", scene.canvas.image.size)
        mask.paste(image.getchannel("A"), corner)
        box = mask.reduce(SUPERSAMPLE).point(lambda alpha: 255 * (alpha >= 128)).getbbox()
        visible = np.sum(mask, dtype=float) / np.sum(image.getchannel("A"), dtype=float)
        half = max(0.6, 0.035 * scene.focal / depth)
        pole = (x - half, y, x + half, max(y + pixels, scene.point(0, 0, depth)[1]))
        if visible < MIN_VISIBLE or any(
            _overlap(box, other.box)
            or _overlap(pole, other.box)
            or (other is not mate and _overlap(box, other.pole))
            for other in taken
        ):
            continue
        if not light:
            reached = rng.uniform(0.35, 0.75)
            glow = glow.point(lambda value, reached=reached: round(value * reached))
        return Sign(name, depth, pixels, (x, y), image, glow, corner, box, visible, pole)
    return None


def _weathered(face: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A sign face faded, and in light or shade; RGBA in and out."""
    fade, shade = rng.uniform(0, 0.22), rng.uniform(0.72, 1.06) * rng.uniform(0.88, 1.08, 2)
    pixels = np.asarray(face).astype(np.float32)
    pixels[..., :3] = pixels[..., :3] * (1 - fade) + 128 * fade
    pixels[..., :3] *= np.linspace(*shade, len(pixels), dtype=np.float32)[:, None, None]
    return _picture(pixels)


def _paint_signs(scene: Scene) -> list[Box]:
    """Hangs signs and distractors and paints them, far to near; returns the signs' boxes."""
    rng, classes = scene.rng, list(SIGNS)
    count = rng.choice(len(SIGN_COUNT_SHARES), p=SIGN_COUNT_SHARES)
    drawn = rng.choice(len(classes), count, p=[share for share, _ in SIGNS.values()])
    distractors = int(rng.choice(4, p=(0.35, 0.35, 0.2, 0.1)))
    taken: list[Sign] = []
    for name in [*(classes[k] for k in drawn), *[None] * distractors]:
        if sign := _hang(scene, name, taken):
            taken.append(sign)
    taken.sort(key=lambda sign: -sign.depth)
    for sign in taken:
        scene.canvas.rectangle(sign.pole, scene.haze(_jitter(rng, STEEL, 10), sign.depth))
        face = _weathered(sign.image, rng)
        scene.canvas.image.paste(face, sign.corner, face)
        scene.canvas.glow.paste(sign.glow, sign.corner, face)
    named = [sign for sign in taken if sign.name]
    return [Box(sign.name, *sign.box, truncated=sign.visible < 0.98) for sign in named]


def _motion(angle: float) -> ImageFilter.Kernel:
    """Blur along a line of five pixels, the most that Pillow's kernels hold."""
    kernel = np.zeros((5, 5))
    for step in np.linspace(-2, 2, 9):
        kernel[round(2 + step * math.sin(angle)), round(2 + step * math.cos(angle))] += 1
    return ImageFilter.Kernel((5, 5), kernel.ravel().tolist())


def _develop(scene: Scene) -> Image.Image:
    """What the camera makes of the scene: light, bloom, blur, noise and at times JPEG blocks."""
    rng, mood = scene.rng, scene.mood
    picture = np.asarray(scene.canvas.image.reduce(SUPERSAMPLE), np.float32)
    glow = np.asarray(scene.canvas.glow.reduce(SUPERSAMPLE), np.float32)[..., None] / 255
    gain, size = rng.uniform(*mood.gain), (scene.width, scene.height)
    dark = max(0, 1 - gain)  # how much a lamp stands out
    bloom = _picture(picture * (dark * glow**2)).reduce(2)  # smaller, as blurring takes its time
    bloom = bloom.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.5))).resize(size)
    shade = _noise(rng, size, 4, 4)[..., None]
    picture *= (1 + rng.uniform(0.02, 0.1) * shade) * (gain + dark * glow)
    picture *= np.float32(mood.tint * rng.normal(1, 0.03, 3))
    picture += np.asarray(bloom, np.float32)
    image = _picture((picture - 110) * rng.uniform(0.85, 1.12) + 110)
    blur = rng.random()
    if blur < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.3)))
    elif blur < 0.5:
        image = image.filter(_motion(rng.uniform(0, math.pi)))
    noise = rng.standard_normal(picture.shape, np.float32) * rng.uniform(0.2, 1) * mood.noise
    image = _picture(np.asarray(image) + noise)
    if rng.random() < 0.3:
        worn = io.BytesIO()
        image.save(worn, "JPEG", quality=int(rng.integers(35, 80)))
        image = Image.open(worn).convert("RGB")
    return image


def make_scene(seed: int, index: int) -> tuple[Image.Image, list[Box]]:
    """Picture number `index` of the set that `seed` names, and its signs.

    Depends on the two numbers alone, so pictures may be made in any order. Boxes are whole pixels,
    xmin ymin xmax ymax as edges, tight around the sign face (with the housing of a traffic light,
    without poles); a box that the border cuts is clipped and marked truncated.
    """
    rng = np.random.default_rng([seed, index])
    width, height = (side + int(rng.integers(-12, 13)) for side in SIZES[rng.integers(len(SIZES))])
    scene = Scene(
        canvas=Canvas("RGB", width, height, SUPERSAMPLE),
        rng=rng,
        mood=MOODS[rng.choice(len(MOODS), p=[mood.share for mood in MOODS])],
        width=width,
        height=height,
        centre=width * rng.uniform(0.25, 0.75),
        horizon=height * rng.uniform(0.42, 0.78),
        focal=max(width, height) * rng.uniform(0.8, 1.3),
    )
    _paint_street(scene)
    boxes = _paint_signs(scene)  # last, so that nothing of the street hides one
    return _develop(scene), boxes
