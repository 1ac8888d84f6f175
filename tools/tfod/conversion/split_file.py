"""Reads existing splits: a table of file names, or the ImageSets of a VOC folder."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from tfod.annotation import Annotation
from tfod.conversion.split import SPLITS
from tfod.errors import BadFilesError, FileFault, UserError

REMEDY = "Give a CSV with the columns filename and split, or a folder with train.txt and val.txt"


def read_split(path: Path) -> dict[str, str]:
    """Returns the split of each image, by the name of the image in the file, in form NFC.

    Args:
      path: a CSV with the columns `filename` and `split`, such as the `annotations.csv` of a data
        set; or a folder such as VOC's `ImageSets/Main`, with `train.txt`, `val.txt` and `test.txt`
        (each may be missing), one image per line, with or without suffix.

    Raises:
      UserError: the file cannot be read, has another format, or lists an image in two splits.
    """
    try:
        pairs = _from_folder(path) if path.is_dir() else _from_table(path)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, "is not a text file in UTF-8", REMEDY) from error
    split_of: dict[str, str] = {}
    for name, split in pairs:
        image = normalize("NFC", name)
        if split not in SPLITS:
            what = f"puts {image!r} into {split!r}"
            raise UserError(path, what, f"Give one of {', '.join(SPLITS)}")
        if split_of.setdefault(image, split) != split:
            what = f"puts {image!r} into {split_of[image]} and into {split}"
            raise UserError(path, what, "Keep one of the two")
    if not split_of:
        raise UserError(path, "lists no images", REMEDY)
    return split_of


def _from_folder(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for split in SPLITS:
        file = path / f"{split}.txt"
        if file.is_file():
            lines = file.read_text(encoding="utf-8-sig").splitlines()
            # VOC's lists of a single class have a second column with 1, 0 or -1.
            names = (re.sub(r"\s+(-1|0|1)$", "", line.strip()) for line in lines)
            pairs += [(name, split) for name in names if name]
    return pairs


def _from_table(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if not {"filename", "split"} <= set(table.fieldnames or ()):
            raise UserError(path, "has no columns filename and split", REMEDY)
        return [(row["filename"] or "", row["split"] or "") for row in table]


def apply_split(annotations: Sequence[Annotation], path: Path) -> dict[str, list[Annotation]]:
    """Assigns annotations to splits as listed in a file, in the order of `annotations`.

    Args:
      path: see `read_split`. It may list an image by its `source_id`, its file name, or its file
        name without suffix. Images that are in none of the lists of a folder are left out: those
        of VOC select the images of a task.

    Raises:
      BadFilesError: images that are not in a CSV, and equal images in two splits: a detector would
        be evaluated on its training images.
      UserError: see `read_split`; or no image is listed.
    """
    split_of = read_split(path)
    parts: dict[str, list[Annotation]] = {}
    faults: list[FileFault] = []
    first: dict[bytes, tuple[Annotation, str]] = {}
    for annotation in annotations:
        image = annotation.image
        names = (annotation.source_id, image.name, image.stem)
        composed = (normalize("NFC", name) for name in names)
        split = next((split_of[name] for name in composed if name in split_of), None)
        if split is None and path.is_dir():
            continue
        if split is None:
            what, remedy = f"is in no split of {path}", "Add it there, or remove the image"
            faults.append(FileFault(image, "image in no split", what, remedy))
            continue
        equal, equal_split = first.setdefault(annotation.digest, (annotation, split))
        if equal_split != split:
            what = f"is in {split}, but the same image is {equal.image} in {equal_split}"
            remedy = "Put both into one split, or remove one"
            faults.append(FileFault(image, "image in two splits", what, remedy))
        parts.setdefault(split, []).append(annotation)
    if faults:
        raise BadFilesError(path, faults, "Correct the file")
    if not parts:
        raise UserError(path, "lists none of the images", "List them without folders")
    return {split: parts[split] for split in SPLITS if split in parts}
