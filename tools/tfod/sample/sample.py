"""A synthetic PASCAL VOC folder of street scenes with four kinds of road sign.

It lets every stage run, and a small detector learn something real, without a download.
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


def _write_scene(folder: Path, seed: int, index: int) -> None:
    """Writes one picture and its annotation."""
    picture, boxes = make_scene(seed, index)
    image = folder / "images" / f"scene{index:04d}.jpg"
    picture.save(image, quality=92)

    xml = folder / "annotations" / f"{image.stem}.xml"
    write_voc(xml, image, picture.size, boxes)


def write_sample(
    output: Path,
    count: int = 400,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Writes `count` scenes as `output`/images/*.jpg and `output`/annotations/*.xml.

    The same seed gives the same bytes, and a larger count the same pictures and more.

    Args:
      output: a folder that does not exist yet, or is empty. It appears once all is written.
      progress: called with the stage "scenes".

    Raises:
      UserError: `output` holds something already, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(output, "already exists", "Give a new folder, or delete this one first")
    with replacing_folder(output) as partial:
        for name in ("images", "annotations"):
            (partial / name).mkdir()
        # Threads, since Pillow and NumPy let go of the interpreter for much of the work.
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            scenes = [pool.submit(_write_scene, partial, seed, index) for index in range(count)]
            for scene in tracked(scenes, progress, "scenes", count):
                scene.result()
        finally:
            pool.shutdown(cancel_futures=True)
