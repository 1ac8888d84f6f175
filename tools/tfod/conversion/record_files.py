"""Finds TFRecord files that other programs wrote, their splits and their label map."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from tfod.conversion.split import SPLITS
from tfod.dataset.label_map import read_label_map
from tfod.dataset.tfrecord import RECORD_FILE
from tfod.errors import UserError

Files = tuple[Path, ...]
# Words in names of files and folders, such as `coco_train.record` and Roboflow's `valid/`.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "test": "test",
    "testing": "test",
}
SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<count>\d+)(?P<suffix>\.\w+)?")
OPTIONS = " and ".join((", ".join(f"--{split}" for split in SPLITS[:-1]), f"--{SPLITS[-1]}"))


def find_files(path: Path) -> Files:
    """Returns the TFRecord files of one split, sorted by name.

    Args:
      path: a file, a folder that contains the files, or a pattern such as `train.record-*`. Of a
        folder, the files are used that end like TFRecord files (`RECORD_FILE`).

    Raises:
      UserError: no file matches; a file of a numbered set is missing; or a folder contains files
        of different splits.
    """
    if path.is_file():
        return (path,)
    if path.is_dir():
        files = _record_files(path)
        splits = {split for file in files if (split := _split_of(file.name))}
        if len(splits) > 1:
            what = f"contains files of several splits: {_names(files)}"
            raise UserError(path, what, "Give the files of one split")
        remedy = "Give a folder with .tfrecord or .record files"
    else:
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        files = tuple(
            sorted(file for file in siblings if fnmatchcase(file.name, path.name) if file.is_file())
        )
        remedy = "Give a TFRecord file, a folder of them, or a pattern such as 'train.record-*'"
    if not files:
        what = "contains no TFRecord files" if path.is_dir() else "does not exist"
        raise UserError(path, what, remedy)
    _refuse_incomplete(files)
    return files


def find_splits(folder: Path) -> dict[str, Files]:
    """Returns the TFRecord files of each split of a data set that another program wrote.

    The splits are recognized by a word (`SPLIT_WORDS`) in the name of the subfolder, as in exports
    of Roboflow (`train/`, `valid/`, `test/`), or of the file, as in `coco_train.record`.

    Raises:
      UserError: `folder` is not a folder, has no TFRecord files, or it is unclear to which split
        one belongs; or a file of a numbered set is missing.
    """
    if not folder.is_dir():
        raise UserError(folder, "is not a folder", f"Give a folder, or {OPTIONS}")
    found = defaultdict(list)
    for file in _record_files(folder):
        found[_split_of(file.name)].append(file)
    for subfolder in sorted(folder.iterdir()):
        if subfolder.is_dir() and (split := _split_of(subfolder.name)):
            found[split] += _record_files(subfolder)
    if not any(found.values()):
        what = "contains no TFRecord files, and no subfolder train, valid or test with some"
        raise UserError(folder, what, f"Give the files with {OPTIONS}")
    if None in found:
        what = f"has files whose names do not tell the split: {_names(found[None])}"
        raise UserError(folder, what, f"Give the files with {OPTIONS}")
    for files in found.values():
        _refuse_incomplete(files)
    return {split: tuple(found[split]) for split in SPLITS if found[split]}


def find_label_map(folder: Path, splits: Mapping[str, Files]) -> Path:
    """Returns the label map in a folder, or in those of the files of its splits.

    Roboflow writes one next to each file. They must contain the same classes.

    Raises:
      UserError: no label map is found, several differ, or one cannot be read.
    """
    folders = dict.fromkeys([folder, *(file.parent for files in splits.values() for file in files)])
    label_maps = [path for place in folders for path in sorted(place.glob("*.pbtxt"))]
    if not label_maps:
        raise UserError(folder, "contains no label map (.pbtxt)", "Give it with --label-map")
    first, *others = label_maps
    for other in others:
        if read_label_map(other) != read_label_map(first):
            what = f"contains other classes than {first}"
            raise UserError(other, what, "Choose one with --label-map")
    return first


def _record_files(folder: Path) -> Files:
    """Returns the TFRecord files in a folder, without its subfolders, sorted by name."""
    return tuple(
        sorted(
            path
            for path in folder.iterdir()
            # Names with a dot are duplicates that macOS adds to archives.
            if RECORD_FILE.search(path.name) and path.is_file() and not path.name.startswith(".")
        )
    )


def _split_of(name: str) -> str | None:
    """Returns the split that a name contains as a word; None if it contains none or several."""
    words = re.split(r"[^a-z]+", name.lower())
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None


def _refuse_incomplete(files: Iterable[Path]) -> None:
    """Raises a UserError if files of a set such as `train.record-00000-of-00010` are missing."""
    sets = defaultdict(set)
    for file in files:
        if match := SHARD.fullmatch(file.name):
            key = (file.parent, match["name"], match["suffix"], int(match["count"]))
            sets[key].add(int(match["number"]))
    for (folder, name, suffix, count), numbers in sets.items():
        if len(numbers) < count:
            first = next(number for number in range(count) if number not in numbers)
            missing = f"{name}-{first:05d}-of-{count:05d}{suffix or ''}"
            what = f"has {len(numbers)} of the {count} files of {name}: {missing} is missing"
            raise UserError(folder, what, "Add the missing files")


def _names(files: Iterable[Path]) -> str:
    return ", ".join(file.name for file in files)
