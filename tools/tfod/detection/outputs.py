"""Writes predictions: annotated images and videos, COCO JSON, CSV, VOC XML, crops.

Each writer is a context manager. It returns a function to call with one prediction after another.
Files and folders appear when the block succeeds; nothing is left behind if it fails.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from PIL import Image

from tfod.annotation import Box
from tfod.annotation.voc_writer import write_voc
from tfod.cameras import FRAMES_PER_SECOND
from tfod.detection.coco_results import entries_file, result_entries
from tfod.detection.counting import Place
from tfod.detection.drawing import contact_sheet, draw_counts, draw_detections
from tfod.detection.prediction import Prediction
from tfod.errors import UserError
from tfod.files import UniqueNames, load_json, replacing_file, replacing_folder, sha256
from tfod.folder_kind import SYSTEM_FILES, strange_file

if TYPE_CHECKING:
    import supervision as sv

CONTACT_SHEET = "contact_sheet.jpg"
MAX_SHEET_IMAGES = 24
MARKER = ".tfod-predict"  # in each folder: the hashes of its files, as written

Write = Callable[[Prediction], None]


@contextmanager
def drawn_images(folder: Path, overwrite: bool) -> Iterator[Write]:
    """Writes images and videos with boxes, named like the input, and a sheet of the first 24."""
    import supervision as sv

    sheet: list[np.ndarray] = []
    names = UniqueNames({CONTACT_SHEET})
    with _folder(folder, overwrite, "--output") as partial, ExitStack() as videos:
        sinks: dict[Path, sv.VideoSink] = {}
        frames: dict[Path, int] = {}  # the last one of each video

        def write(prediction: Prediction) -> None:
            drawn = draw_detections(prediction.pixels, prediction.detections)
            drawn = draw_counts(drawn, prediction.counts)
            if prediction.frame is None:
                Image.fromarray(drawn).save(
                    partial / names.add(prediction.path, ".jpg"), quality=92
                )
            else:
                if prediction.path not in sinks:
                    videos.close()  # videos come one after another
                    target = partial / names.add(prediction.path, ".mp4")
                    info = _video_info(prediction)
                    sinks[prediction.path] = videos.enter_context(sv.VideoSink(str(target), info))
                    frames[prediction.path] = prediction.frame - 1
                # The numbers of a camera's images have gaps. Repeated images keep the time.
                for _ in range(prediction.frame - frames[prediction.path]):
                    sinks[prediction.path].write_frame(np.ascontiguousarray(drawn[..., ::-1]))
                frames[prediction.path] = prediction.frame
            if len(sheet) < MAX_SHEET_IMAGES and not prediction.frame:
                sheet.append(drawn)

        yield write
        videos.close()
        if sheet:
            contact_sheet(sheet).save(partial / CONTACT_SHEET, quality=90)


def _video_info(prediction: Prediction) -> sv.VideoInfo:
    """Returns size and frame rate of the video to write."""
    import supervision as sv

    if prediction.from_camera:
        return sv.VideoInfo(*prediction.size, fps=FRAMES_PER_SECOND)
    return sv.VideoInfo.from_video_path(str(prediction.path))


@contextmanager
def coco_results(path: Path) -> Iterator[Write]:
    """Writes JSON in COCO's results format, as `tfod evaluate --detections` reads it.

    `image_id` is the file name; for a video, followed by `#` and the frame number.
    """
    with _file(path, "--json") as file, entries_file(file) as write_entries:

        def write(prediction: Prediction) -> None:
            frame = "" if prediction.frame is None else f"#{prediction.frame}"
            name = f"{prediction.path.name}{frame}"
            write_entries(result_entries(name, *prediction.size, prediction.detections))

        yield write


@contextmanager
def csv_table(
    path: Path, with_tracks: bool = False, places: Sequence[Place] = ()
) -> Iterator[Write]:
    """Writes one row per detection: file, frame, size, class, score, and the box in pixels.

    Args:
      with_tracks: add the column `track_id`.
      places: add a column for each, with what the object did there, see `Count.events`.
    """
    edges = ["xmin", "ymin", "xmax", "ymax"]
    with _file(path, "--csv") as file:
        writer = csv.writer(file)
        more = ["track_id"] * with_tracks + [place.name for place in places]
        writer.writerow(["file", "frame", "width", "height", "class", "score", *edges, *more])

        def write(prediction: Prediction) -> None:
            frame = "" if prediction.frame is None else prediction.frame
            boxes = prediction.detections.to_pixels_xyxy(*prediction.size).round(1).tolist()
            detections = prediction.detections
            columns = [detections.track_ids.tolist()] if detections.track_ids is not None else []
            columns += [list(count.events) for count in prediction.counts]
            for name, score, box, *more in zip(
                detections.names, detections.scores.tolist(), boxes, *columns, strict=True
            ):
                edges = [round(edge, 1) for edge in box]
                start = [prediction.path, frame, *prediction.size, name, round(score, 4)]
                writer.writerow([*start, *edges, *more])

        yield write


@contextmanager
def voc_folder(folder: Path, overwrite: bool) -> Iterator[Write]:
    """Writes one PASCAL VOC file per image, for `tfod label` and `tfod convert`."""
    names = UniqueNames()
    with _folder(folder, overwrite, "--voc") as partial:

        def write(prediction: Prediction) -> None:
            if prediction.frame is not None:
                return  # annotations are of image files
            boxes = prediction.detections.to_pixels_xyxy(*prediction.size).tolist()
            objects = [
                Box(name, *box)
                for name, box in zip(prediction.detections.names, boxes, strict=True)
            ]
            write_voc(
                partial / names.add(prediction.path, ".xml"),
                prediction.path,
                prediction.size,
                objects,
            )

        yield write


@contextmanager
def crops(folder: Path, overwrite: bool) -> Iterator[Write]:
    """Writes a cropped image of each object, into one folder per class."""
    names = UniqueNames()
    with _folder(folder, overwrite, "--save-crops") as partial:

        def write(prediction: Prediction) -> None:
            boxes = prediction.detections.to_pixels_xyxy(*prediction.size)
            low, high = np.floor(boxes[:, :2]).astype(int), np.ceil(boxes[:, 2:]).astype(int)
            for name, (left, top), (right, bottom) in zip(
                prediction.detections.names, low, high, strict=True
            ):
                crop = prediction.pixels[top:bottom, left:right]
                if crop.size:
                    class_folder = partial / _safe_name(name)
                    class_folder.mkdir(exist_ok=True)
                    Image.fromarray(crop).save(class_folder / names.add(prediction.path, ".png"))

        yield write


def _safe_name(name: str) -> str:
    """Returns a class name that is safe as a folder name."""
    safe = "".join(char if char.isalnum() or char in " -_." else "_" for char in name)
    return safe.strip(". ") or "_"


@contextmanager
def _folder(folder: Path, overwrite: bool, option: str) -> Iterator[Path]:
    with replacing_folder(folder, overwrite, check_old=_check_own, option=option) as partial:
        yield partial
        (partial / MARKER).write_text(json.dumps(dict(_hashes(partial))), encoding="utf-8")


def _check_own(folder: Path, option: str) -> None:
    """Raises a UserError if a folder contains something that `tfod predict` did not write.

    A file that was changed counts too, such as annotations that somebody has corrected.
    """
    kind = "the output of tfod predict"
    marker, remedy = folder / MARKER, f"Choose another {option}"
    written = load_json(marker, remedy) if marker.is_file() else None
    if not isinstance(written, dict):
        raise UserError(folder, f"exists and is not {kind}, so it is not overwritten", remedy)
    for name, digest in _hashes(folder):
        if name not in written:
            raise strange_file(folder, name, kind, option)
        if written[name] != digest:
            what = f"contains {name}, which was changed, so it is not overwritten"
            raise UserError(folder, what, remedy)


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the relative path and the SHA-256 of each file in a folder but the marker."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MARKER and path.name not in SYSTEM_FILES:
            yield path.relative_to(folder).as_posix(), sha256(path)


@contextmanager
def _file(path: Path, option: str) -> Iterator[TextIO]:
    with (
        replacing_file(path, option) as partial,
        # A file name may contain bytes that are not Unicode; they are written as escapes.
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file
