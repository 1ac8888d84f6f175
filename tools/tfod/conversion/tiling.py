"""Cuts the annotated images of a split into tiles."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tfod.annotation import Annotation, Box
from tfod.boxes import clip_xyxy
from tfod.dataset.manifest import Remark
from tfod.tiles import Tiles, Window

MIN_VISIBLE = 0.5  # fraction of an object's area that must be in a tile
# Objects whose sides (square roots of the areas) are shorter than `HIDDEN` pixels when their image
# is resized to `LARGE_INPUT` are mostly missed. Tiles of `IN_TILE` times their sides show them.
HIDDEN, LARGE_INPUT, IN_TILE = 8, 640, 20
SMALLEST_TILE = 320  # pixels, that are worth an inference
MANY = 0.25  # of the objects


@dataclass(frozen=True)
class TiledSplit:
    """The tiles of a split that become its records.

    Attributes:
      annotations: one per tile, those of an image one after another.
      empty: number of tiles without objects that were left out.
      lost: number of objects that are in none of the tiles.
    """

    annotations: list[Annotation]
    empty: int
    lost: int


def cut_into_tiles(annotations: Sequence[Annotation], tiles: Tiles, seed: int) -> TiledSplit:
    """Cuts images into tiles.

    A box is clipped to its tile and then marked as truncated. It is left out of a tile that
    contains less than the fraction `MIN_VISIBLE` of its area. All tiles with objects are kept, and
    as many without, chosen at random; but at least as many as there are images.

    Args:
      seed: determines the choice of the tiles without objects.
    """
    cut: list[Annotation] = []
    lost = 0
    for annotation in annotations:
        in_image = list(_tiles_of(annotation, tiles))
        visible = {index for indices, _ in in_image for index in indices}
        lost += len(annotation.objects) - len(visible)
        cut += [tile for _, tile in in_image]
    empty = [index for index, tile in enumerate(cut) if not tile.objects]
    kept = min(len(empty), max(len(cut) - len(empty), len(annotations)))
    left_out = set(empty) - set(random.Random(seed).sample(empty, kept))
    chosen = [tile for index, tile in enumerate(cut) if index not in left_out]
    return TiledSplit(chosen, len(left_out), lost)


def remarks(tiles: Tiles, splits: dict[str, tuple[int, TiledSplit]]) -> list[Remark]:
    """Returns the remarks on the number of images and the tiles of each split."""
    texts = [
        f"{images} images of {name} into {len(split.annotations)} tiles "
        f"({split.empty} more without objects were left out)"
        for name, (images, split) in splits.items()
    ]
    total = sum(images for images, _ in splits.values())
    found = [Remark("cut into tiles", total, f"cut {'; '.join(texts)}")]
    if lost := sum(split.lost for _, split in splits.values()):
        found.append(
            Remark(
                "object in no tile",
                lost,
                f"{lost} objects are so large that no tile of {tiles.size} pixels contains half "
                "of them, and were left out; use larger --tiles to detect them",
            )
        )
    return found


def suggest_tiles(annotations: Iterable[Annotation]) -> list[Remark]:
    """Returns a remark if many objects are too small for a detector that sees whole images."""
    sides, hidden = [], []
    for annotation in annotations:
        scale = LARGE_INPUT / math.sqrt(annotation.width * annotation.height)
        for box in annotation.objects:
            side = math.sqrt((box.xmax - box.xmin) * (box.ymax - box.ymin))
            sides.append(side)
            if scale < 1 and side * scale < HIDDEN:
                hidden.append(side)
    if not hidden or len(hidden) < MANY * len(sides):
        return []
    size = max(SMALLEST_TILE, 32 * round(IN_TILE * statistics.median(hidden) / 32))
    text = (
        f"{len(hidden)} of {len(sides)} objects are smaller than {HIDDEN} x {HIDDEN} pixels when "
        f"their image is resized to {LARGE_INPUT} x {LARGE_INPUT}, and would be missed: convert "
        f"with --tiles {size}"
    )
    return [Remark("object too small", len(hidden), text)]


def _tiles_of(annotation: Annotation, tiles: Tiles) -> Iterator[tuple[list[int], Annotation]]:
    """Yields each tile of an image with the indices of its objects."""
    windows = tiles.windows(annotation.width, annotation.height)
    if len(windows) == 1:
        yield list(range(len(annotation.objects))), annotation
        return
    path = PurePosixPath(annotation.source_id)
    for window in windows:
        xmin, ymin, xmax, ymax = window
        boxes = {
            index: clipped
            for index, box in enumerate(annotation.objects)
            if (clipped := _clip(box, window)) is not None
        }
        width, height = xmax - xmin, ymax - ymin
        share = width * height / (annotation.width * annotation.height)
        yield (
            list(boxes),
            replace(
                annotation,
                width=width,
                height=height,
                objects=tuple(boxes.values()),
                source_id=str(path.with_name(f"{path.stem}_tile{xmin}_{ymin}{path.suffix}")),
                file_size=round(annotation.file_size * share),
                window=window,
            ),
        )


def _clip(box: Box, window: Window) -> Box | None:
    """Returns the box in pixels of the tile; None if too little of it is in the tile."""
    left, top, right, bottom = window
    moved = box.xmin - left, box.ymin - top, box.xmax - left, box.ymax - top
    clipped = clip_xyxy(*moved, right - left, bottom - top)
    width, height = clipped[2] - clipped[0], clipped[3] - clipped[1]
    area = (box.xmax - box.xmin) * (box.ymax - box.ymin)
    if width <= 0 or height <= 0 or width * height < MIN_VISIBLE * area:
        return None
    xmin, ymin, xmax, ymax = clipped
    is_cut = clipped != moved
    return replace(
        box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, truncated=box.truncated or is_cut
    )
