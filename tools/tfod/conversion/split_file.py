"""Splits that were made before: a table of file names, or the ImageSets of a VOC folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tfod.annotation import Annotation
from tfod.conversion.split import SPLITS
from tfod.errors import BadFilesError, FileFault, UserError

REMEDY = "Give a CSV with the columns filename and split, or a folder with train.txt and val.txt"


def read_split(path: Path) -> dict[str, str]:
    """Name of the split of each picture, by the name that the file gives the picture.

    Args:
      path: a CSV with the columns `filename` and `split`, such as the `annotations.csv` of a data
        set; or a folder such as VOC's `ImageSets/Main`, with `train.txt`, `val.txt` and `test.txt`
        (each may be missing), a picture a line, with or without suffix.

    Raises:
      UserError: it cannot be read, or is neither, or names a picture in two splits.
    """
    try:
        pairs = _from_folder(path) if path.is_dir() else _from_table(path)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, "is no text file of UTF-8", REMEDY) from error
    named: dict[str, str] = {}
    for picture, split in pairs:
        if split not in SPLITS:
            what = f"puts {picture!r} into {split!r}"
            raise UserError(path, what, f"Name one of {', '.join(SPLITS)}")
        if named.setdefault(picture, split) != split:
            what = f"puts {picture!r} into {named[picture]} and into {split}"
            raise UserError(path, what, "Keep one of the two")
    if not named:
        raise UserError(path, "names no picture", REMEDY)
    return named


def _from_folder(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for split in SPLITS:
        file = path / f"{split}.txt"
        if file.is_file():
            lines = file.read_text(encoding="utf-8-sig").splitlines()
            # VOC's lists of one class have a column with 1, 0 or -1 behind the name.
            pairs += [(words[0], split) for line in lines if (words := line.split())]
    return pairs


def _from_table(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if not {"filename", "split"} <= set(table.fieldnames or ()):
            raise UserError(path, "has no columns filename and split", REMEDY)
        return [(row["filename"] or "", row["split"] or "") for row in table]


def apply_split(annotations: Sequence[Annotation], path: Path) -> dict[str, list[Annotation]]:
    """Deals annotations as a file says. The order within a split is that of `annotations`.

    Args:
      path: see `read_split`. It may name a picture by its `source_id`, its bare file name, or that
        without suffix.

    Raises:
      BadFilesError: pictures that it does not name, and equal pictures that it puts into two
        splits: a detector would be judged by what it learned from.
      UserError: see `read_split`.
    """
    named = read_split(path)
    parts: dict[str, list[Annotation]] = {}
    faults: list[FileFault] = []
    first: dict[bytes, tuple[Annotation, str]] = {}
    for annotation in annotations:
        picture = annotation.image
        names = (annotation.source_id, picture.name, picture.stem)
        split = next((named[name] for name in names if name in named), None)
        if split is None:
            what, remedy = f"is in no split of {path}", "Add it there, or remove the picture"
            faults.append(FileFault(picture, "picture in no split", what, remedy))
            continue
        other, others = first.setdefault(annotation.digest, (annotation, split))
        if others != split:
            what = f"is in {split}, and the same picture as {other.image} in {others}"
            remedy = "Put both into one split, or remove one"
            faults.append(FileFault(picture, "picture in two splits", what, remedy))
        parts.setdefault(split, []).append(annotation)
    if faults:
        raise BadFilesError(path, faults, "Mend the file")
    return {split: parts[split] for split in SPLITS if split in parts}
