"""Detector over files and folders: pictures with boxes drawn, a JSON of detections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tfod.detections import Detections
from tfod.detector import Detector
from tfod.errors import BadFilesError, UserError
from tfod.files import refuse_existing, replacing_folder
from tfod.images import load_rgb, suffixes
from tfod.pictures import list_files
from tfod.report import contact_sheet, draw_detections

CONTACT_SHEET = "contact_sheet.jpg"
SHEET_PICTURES = 24


@dataclass(frozen=True)
class Prediction:
    """One picture and what was found in it.

    Attributes:
      path: the file.
      width, height: pixels, after turning the picture upright.
      detections: those above the threshold.
    """

    path: Path
    width: int
    height: int
    detections: Detections

    def to_json(self) -> dict:
        """As JSON: boxes in pixels, xmin, ymin, xmax, ymax, as in PASCAL VOC."""
        boxes = self.detections.to_pixels_xyxy(self.width, self.height).round(1).tolist()
        found = self.detections
        return {
            "file": str(self.path),
            "width": self.width,
            "height": self.height,
            "detections": [
                {"name": name, "score": round(score, 4), "box": [round(edge, 1) for edge in box]}
                for name, score, box in zip(found.names, found.scores.tolist(), boxes, strict=True)
            ],
        }


def find_pictures(inputs: Sequence[Path]) -> list[Path]:
    """The picture files among files and folders (searched through), sorted within a folder.

    Raises:
      UserError: an input is not there, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in inputs:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise UserError(path, "is not there", "Name a picture or a folder of pictures")
        inside = list_files(path, suffixes())
        if not inside:
            raise UserError(path, "holds no pictures", "Name a folder of pictures")
        found.extend(inside)
    return list(dict.fromkeys(found))


def predict_files(
    detector: Detector,
    inputs: Sequence[Path],
    threshold: float = 0.5,
    output: Path | None = None,
    json_file: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> list[Prediction]:
    """Finds objects in files and folders of pictures, and draws what was found.

    Args:
      detector: the loaded model.
      inputs: pictures, and folders to search through.
      threshold: least score to report, in [0, 1].
      output: folder for the drawn pictures and a contact sheet of the first 24; appears when
        complete. None draws nothing.
      json_file: file for the detections as JSON. None writes none.
      overwrite: replace an `output` that is there.
      progress: wraps the iteration, such as `tqdm`.

    Raises:
      UserError: an input or output is unusable.
      BadFilesError: pictures do not decode; all are named, and nothing is written.
    """
    pictures = find_pictures(inputs)
    if output is not None:
        refuse_existing(output, overwrite)
    _check_pictures(pictures)
    if output is None:
        predictions = [found for found, _ in _predict(detector, progress(pictures), threshold)]
    else:
        predictions, sheet = [], []
        names = _output_names(pictures)
        with replacing_folder(output) as folder:
            for found, pixels in _predict(detector, progress(pictures), threshold):
                drawn = draw_detections(pixels, found.detections)
                Image.fromarray(drawn).save(folder / names[found.path], quality=92)
                predictions.append(found)
                if len(sheet) < SHEET_PICTURES:
                    sheet.append(drawn)
            contact_sheet(sheet).save(folder / CONTACT_SHEET, quality=90)
    if json_file is not None:
        partial = json_file.with_name(f"{json_file.name}.partial")
        partial.write_text(json.dumps([p.to_json() for p in predictions], indent=1) + "\n")
        partial.replace(json_file)
    return predictions


def _predict(
    detector: Detector, pictures: Iterable[Path], threshold: float
) -> Iterator[tuple[Prediction, np.ndarray]]:
    for path in pictures:
        pixels = load_rgb(path)
        detections = detector.predict(pixels).above(threshold)
        yield Prediction(path, pixels.shape[1], pixels.shape[0], detections), pixels


def _check_pictures(pictures: Sequence[Path]) -> None:
    errors = []
    for path in pictures:
        try:
            load_rgb(path)
        except UserError as error:
            errors.append(error)
    if errors:
        raise BadFilesError("pictures", errors, "Mend them, or take them out")


def _output_names(pictures: Sequence[Path]) -> dict[Path, str]:
    """A JPEG name for each picture; equal stems from different folders get a number."""
    names: dict[Path, str] = {}
    taken = {CONTACT_SHEET}
    for path in pictures:
        name, number = f"{path.stem}.jpg", 2
        while name in taken:
            name, number = f"{path.stem}_{number}.jpg", number + 1
        taken.add(name)
        names[path] = name
    return names
