"""Synthetic street scenes with road signs, drawn with Pillow.

A scene is a small 3D world in meters: x to the right of the camera, y up from the ground, z away
from the camera. It is drawn at twice the final resolution. Next to the colors, a glow map marks
the surfaces that emit light or reflect the headlights, so that one last step can turn the day into
dusk or night.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from tfod.annotation import Box
from tfod.sample.signs import DISTRACTORS, LIGHT_ASPECT, SIGNS, STEEL, Canvas, Point, Rect
from tfod.sample.street import draw_street
from tfod.sample.view import LIGHTINGS, STREET, Scene, View, smooth_noise, to_image, vary

MIN_VISIBLE = 0.6  # fraction of a sign that must be inside the image
SUPERSAMPLE = 2  # canvas pixels per image pixel
FACE_PIXELS = 384  # longer side of a sign face before it is resized and warped


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
    return to_image(pixels)


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
        scene.canvas.rectangle(sign.pole, scene.haze(vary(rng, STEEL, 10), sign.depth))
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
    bloom = to_image(pixels * (darkness * glow**2)).reduce(2)  # a smaller image blurs faster
    bloom = bloom.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.5))).resize(size)
    shade = smooth_noise(rng, size, 4, 4)[..., None]
    pixels *= (1 + rng.uniform(0.02, 0.1) * shade) * (gain + darkness * glow)
    pixels *= (np.array(lighting.tint) * rng.normal(1, 0.03, 3)).astype(np.float32)
    pixels += np.asarray(bloom, np.float32)
    image = to_image((pixels - 110) * rng.uniform(0.85, 1.12) + 110)
    blur = rng.random()
    if blur < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.3)))
    elif blur < 0.5:
        image = image.filter(_motion_blur(rng.uniform(0, math.pi)))
    noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0.2, 1) * lighting.noise
    image = to_image(np.asarray(image) + noise)
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
    draw_street(scene)
    boxes = _draw_signs(scene)  # last, so that the street hides no sign
    return _photograph(scene), boxes
