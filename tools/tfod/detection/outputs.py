"""What is written of predictions: drawn pictures and videos, JSON, CSV, VOC XML, cut-outs.

Each is a context manager that gives a function to call with one prediction after another. Files
and folders appear when it ends well, and nothing is left where it does not.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from tfod.annotation import Box
from tfod.annotation.voc_writer import write_voc
from tfod.detection.coco_results import result_entries
from tfod.detection.drawing import contact_sheet, draw_detections
from tfod.detection.prediction import Prediction
from tfod.files import refuse_existing, replacing_file, replacing_folder

CONTACT_SHEET = "contact_sheet.jpg"
SHEET_PICTURES = 24

Write = Callable[[Prediction], None]


@contextmanager
def drawn_pictures(folder: Path, overwrite: bool) -> Iterator[Write]:
    """Pictures and videos with boxes, by the names they came with, and a sheet of the first 24."""
    import supervision as sv

    sheet: list[np.ndarray] = []
    names = _Names({CONTACT_SHEET})
    with _folder(folder, overwrite) as partial, ExitStack() as videos:
        sinks: dict[Path, sv.VideoSink] = {}

        def write(found: Prediction) -> None:
            drawn = draw_detections(found.pixels, found.detections)
            if found.frame is None:
                Image.fromarray(drawn).save(partial / names.of(found.path, ".jpg"), quality=92)
            else:
                if found.path not in sinks:
                    videos.close()  # the one before has ended
                    target = partial / names.of(found.path, ".mp4")
                    info = sv.VideoInfo.from_video_path(str(found.path))
                    sinks[found.path] = videos.enter_context(sv.VideoSink(str(target), info))
                sinks[found.path].write_frame(np.ascontiguousarray(drawn[..., ::-1]))
            if len(sheet) < SHEET_PICTURES and not found.frame:
                sheet.append(drawn)

        yield write
        videos.close()
        if sheet:
            contact_sheet(sheet).save(partial / CONTACT_SHEET, quality=90)


@contextmanager
def coco_results(path: Path) -> Iterator[Write]:
    """JSON in COCO's results format, as `tfod evaluate --detections` reads it.

    `image_id` is the file's name; of a video, with `#` and the frame.
    """
    with _file(path) as file:
        separator = "[\n"

        def write(found: Prediction) -> None:
            nonlocal separator
            frame = "" if found.frame is None else f"#{found.frame}"
            name = f"{found.path.name}{frame}"
            for entry in result_entries(name, *found.size, found.detections):
                file.write(separator + json.dumps(entry))
                separator = ",\n"

        yield write
        file.write("[]\n" if separator == "[\n" else "\n]\n")


@contextmanager
def csv_table(path: Path) -> Iterator[Write]:
    """A row a detection: file, frame, size, class, score, and the box in pixels."""
    edges = ["xmin", "ymin", "xmax", "ymax"]
    with _file(path) as file:
        writer = csv.writer(file)
        writer.writerow(["file", "frame", "width", "height", "class", "score", *edges])

        def write(found: Prediction) -> None:
            frame = "" if found.frame is None else found.frame
            boxes = found.detections.to_pixels_xyxy(*found.size).round(1).tolist()
            for name, score, box in zip(
                found.detections.names, found.detections.scores.tolist(), boxes, strict=True
            ):
                rounded = [round(edge, 1) for edge in box]
                writer.writerow([found.path, frame, *found.size, name, round(score, 4), *rounded])

        yield write


@contextmanager
def voc_folder(folder: Path, overwrite: bool) -> Iterator[Write]:
    """A PASCAL VOC file a picture, for LabelImg to correct and `tfod convert` to learn from."""
    names = _Names()
    with _folder(folder, overwrite) as partial:

        def write(found: Prediction) -> None:
            if found.frame is not None:
                return  # there is no picture that LabelImg could open
            boxes = found.detections.to_pixels_xyxy(*found.size).tolist()
            objects = [
                Box(name, *box) for name, box in zip(found.detections.names, boxes, strict=True)
            ]
            write_voc(partial / names.of(found.path, ".xml"), found.path, found.size, objects)

        yield write


@contextmanager
def crops(folder: Path, overwrite: bool) -> Iterator[Write]:
    """Each object cut out, in a folder a class."""
    names = _Names()
    with _folder(folder, overwrite) as partial:

        def write(found: Prediction) -> None:
            boxes = found.detections.to_pixels_xyxy(*found.size)
            low, high = np.floor(boxes[:, :2]).astype(int), np.ceil(boxes[:, 2:]).astype(int)
            for name, (left, top), (right, bottom) in zip(
                found.detections.names, low, high, strict=True
            ):
                cut = found.pixels[top:bottom, left:right]
                if cut.size:
                    inside = partial / _safe(name)
                    inside.mkdir(exist_ok=True)
                    Image.fromarray(cut).save(inside / names.of(found.path, ".png"))

        yield write


def _safe(name: str) -> str:
    """A class name as the name of a folder."""
    kept = "".join(each if each.isalnum() or each in " -_." else "_" for each in name)
    return kept.strip(". ") or "_"


class _Names:
    """Names for files in one folder: equal stems from different folders get a number."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self.taken = taken or set()

    def of(self, path: Path, suffix: str) -> str:
        name, number = f"{path.stem}{suffix}", 2
        while name in self.taken:
            name, number = f"{path.stem}_{number}{suffix}", number + 1
        self.taken.add(name)
        return name


@contextmanager
def _folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    refuse_existing(folder, overwrite)
    with replacing_folder(folder) as partial:
        yield partial


@contextmanager
def _file(path: Path) -> Iterator[TextIO]:
    with replacing_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        yield file
