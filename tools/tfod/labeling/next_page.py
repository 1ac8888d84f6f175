"""Writes the page and the list of `tfod next`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tfod import html_page
from tfod.detection.drawing import draw_detections
from tfod.folder_kind import FolderKind
from tfod.image_files import IMAGE_LIST, write_image_list
from tfod.images import load_rgb
from tfod.labeling.folder import LabelFolder
from tfod.labeling.next_images import Chosen, reason
from tfod.progress import Progress, silent, tracked

PAGE = "index.html"
NEXT_PAGE = FolderKind("a page of tfod next", (PAGE, IMAGE_LIST))
SHOWN = 200  # images: more would make a page of tens of megabytes
THUMBNAIL = 480  # pixels


def write_page(
    folder: Path,
    title: str,
    labels: LabelFolder,
    chosen: Sequence[Chosen],
    progress: Progress = silent,
) -> None:
    """Writes `images.txt` and a page that shows the chosen images with the doubtful detections.

    Args:
      folder: an empty folder.
      title: the name of the image folder.
      progress: called as `progress("draw", done, total)`.

    Raises:
      UserError: an image cannot be read.
    """
    write_image_list(folder / IMAGE_LIST, [labels.names[item.number] for item in chosen])
    shown = chosen[:SHOWN]
    number = f"{len(chosen)} images" if len(shown) == len(chosen) else f"The first {SHOWN} images"
    intro = (
        f"<p>{number} to label next, the most useful first, with what may be there. Doubt "
        "is the entropy of the scores: one bit for a detection at the detector's threshold, less "
        "for a higher or a lower score.</p>"
    )
    figures = []
    for rank, item in enumerate(tracked(shown, progress, "draw", len(shown)), 1):
        image = Image.fromarray(load_rgb(labels.images[item.number]))
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        drawn = draw_detections(np.asarray(image), item.detections)
        photo = html_page.photo(Image.fromarray(drawn), "an image with detections")
        caption = (
            f"{rank}. {html_page.text(labels.names[item.number])}<br>"
            f"{sum(item.doubt.values()):.1f} bits: {html_page.text(reason(item))}"
        )
        figures.append(f"<figure>{photo}<figcaption>{caption}</figcaption></figure>")
    grid = f'<div class="images">{"".join(figures)}</div>'
    html_page.write_page(folder / PAGE, f"What to label next in {title}", [intro, grid])
