"""Writes a synthetic PASCAL VOC folder: street scenes with four classes of road sign.

It is realistic enough to run every stage and to train a small detector without a download.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfod.annotation.voc_writer import write_voc
from tfod.errors import UserError
from tfod.files import replacing_folder
from tfod.progress import Progress, silent, tracked
from tfod.sample.scene import make_scene
from tfod.sample.view import LARGE, STREET, View


def _write_scene(folder: Path, seed: int, index: int, view: View) -> None:
    """Writes one image and its annotation."""
    image, boxes = make_scene(seed, index, view)
    path = folder / "images" / f"scene{index:04d}.jpg"
    image.save(path, quality=92)

    xml = folder / "annotations" / f"{path.stem}.xml"
    write_voc(xml, path, image.size, boxes)


def write_sample(
    output: Path,
    count: int = 400,
    seed: int = 0,
    large: bool = False,
    progress: Progress = silent,
) -> None:
    """Writes `count` scenes as `output`/images/*.jpg and `output`/annotations/*.xml.

    The same seed gives the same bytes. A larger count gives the same images and additional ones.

    Args:
      output: a folder that does not exist or is empty. It appears when it is complete.
      large: images of 3000 x 2000 pixels, with more and distant signs: of 12 to 24 pixels.
      progress: called with the stage "scenes".

    Raises:
      UserError: `output` is not empty or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(output, "already exists", "Give a new folder, or delete this one first")
    with replacing_folder(output) as partial:
        for name in ("images", "annotations"):
            (partial / name).mkdir()
        # Threads are enough: Pillow and NumPy release the GIL during most of the work.
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            view = LARGE if large else STREET
            scenes = [
                pool.submit(_write_scene, partial, seed, index, view) for index in range(count)
            ]
            for scene in tracked(scenes, progress, "scenes", count):
                scene.result()
        finally:
            pool.shutdown(cancel_futures=True)
