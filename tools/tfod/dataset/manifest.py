"""Reads a converted data set; reads and writes its manifest.

A data set is a folder with TFRecord shards, `label_map.pbtxt` and `dataset.json`, the manifest.
This module does not load TensorFlow.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.annotation import Annotation, Repair
from tfod.dataset.label_map import LABEL_MAP, read_label_map
from tfod.errors import FileFault, UserError
from tfod.folder_kind import FolderKind
from tfod.tiles import Tiles

MANIFEST, TABLE = "dataset.json", "annotations.csv"
MANIFEST_VERSION = 1
DATASET = FolderKind("a data set", (MANIFEST,), (LABEL_MAP, TABLE, "*.tfrecord"))


@dataclass(frozen=True)
class Remark:
    """A note about a data set that the user should read. The data set can still be used.

    Attributes:
      kind: its name in `dataset.json`, such as "box clipped".
      count: the number of occurrences.
      what: the message, and the remedy if there is one.
    """

    kind: str
    count: int
    what: str


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
      images: number of images.
      negatives: number of images without objects.
      objects: number of boxes.
      most_objects: largest number of boxes in one image.
      objects_per_class: number of boxes by class name, for every class of the label map.
      shards: TFRecord files.
    """

    images: int
    negatives: int
    objects: int
    most_objects: int
    objects_per_class: dict[str, int]
    shards: tuple[Path, ...]


@dataclass(frozen=True)
class Dataset:
    """A converted data set.

    Attributes:
      folder: its folder.
      label_map: its label map file.
      classes: class names by id; ids from 1, in ascending order.
      splits: the splits that are not empty by name: train, val and test.
      remarks: notes for the user.
      tiles: how the images of train and val were cut into tiles; None if they were not.
    """

    folder: Path
    label_map: Path
    classes: dict[int, str]
    splits: dict[str, Split]
    remarks: tuple[Remark, ...] = ()
    tiles: Tiles | None = None

    def split(self, name: str) -> Split:
        """Returns the split with this name.

        Raises:
          UserError: there is no such split.
        """
        if name not in self.splits:
            raise UserError(
                self.folder,
                f"has no split {name!r}, only {', '.join(self.splits)}",
                "Choose an existing split, or convert again with another --split",
            )
        return self.splits[name]


def is_dataset(folder: Path) -> bool:
    """Whether `tfod convert` wrote this folder."""
    return (folder / MANIFEST).is_file()


def load_dataset(folder: Path) -> Dataset:
    """Reads a data set that `tfod convert` wrote.

    Raises:
      UserError: the folder, its manifest, its label map or a shard is missing or damaged.
    """
    folder = Path(folder)
    convert_again, other_folder = (
        "Run tfod convert or tfod adopt again",
        "Give a folder that tfod convert or tfod adopt wrote",
    )
    manifest = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(folder, "is not a folder", other_folder)
    if not is_dataset(folder):
        raise UserError(folder, f"is not a data set: it has no {MANIFEST}", other_folder)
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["version"] != MANIFEST_VERSION:
            raise UserError(manifest, "was written by another version of tfod", convert_again)
        splits = {
            name: Split(
                images=part["images"],
                negatives=part["negatives"],
                objects=part["objects"],
                most_objects=part["most_objects"],
                objects_per_class=part["objects_per_class"],
                shards=tuple(folder / shard for shard in part["shards"]),
            )
            for name, part in content["splits"].items()
        }
        remarks = tuple(Remark(**remark) for remark in content.get("remarks", ()))
        tiles = Tiles(**content["tiles"]) if content.get("tiles") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(manifest, "is damaged", convert_again) from error
    missing = [
        shard.name for split in splits.values() for shard in split.shards if not shard.is_file()
    ]
    if missing:
        raise UserError(folder, f"lacks {', '.join(missing)}", convert_again)
    classes = read_label_map(folder / LABEL_MAP)
    return Dataset(folder, folder / LABEL_MAP, classes, splits, remarks, tiles)


def describe_split(
    annotations: Sequence[Annotation], classes: Iterable[str], shards: Sequence[Path]
) -> Split:
    """Returns the statistics of a split."""
    counts = Counter(box.name for annotation in annotations for box in annotation.objects)
    return Split(
        images=len(annotations),
        negatives=sum(not annotation.objects for annotation in annotations),
        objects=counts.total(),
        most_objects=max(len(annotation.objects) for annotation in annotations),
        objects_per_class={name: counts[name] for name in classes},
        shards=tuple(shards),
    )


def write_manifest(
    folder: Path,
    splits: Mapping[str, Split],
    fractions: Mapping[str, float],
    seed: int,
    *,
    remarks: Iterable[Remark],
    skipped: Iterable[FileFault],
    fixed: Iterable[Repair] = (),
    unannotated: int,
    tiles: Tiles | None = None,
) -> None:
    """Writes `dataset.json`: split options, statistics of the splits, remarks, skipped files and
    repairs.

    Args:
      fractions: of each split.
      skipped: faults of the files that were left out.
      fixed: faults that were repaired.
      unannotated: number of images without annotation.
      tiles: how images were cut into tiles.
    """
    content = {
        "version": MANIFEST_VERSION,
        "split": dict(fractions),
        "seed": seed,
        "splits": {
            name: {
                "images": split.images,
                "negatives": split.negatives,
                "objects": split.objects,
                "most_objects": split.most_objects,
                "objects_per_class": split.objects_per_class,
                "shards": [shard.name for shard in split.shards],
            }
            for name, split in splits.items()
        },
        **({"tiles": vars(tiles)} if tiles else {}),
        "images_without_annotation": unannotated,
        "remarks": [vars(remark) for remark in remarks],
        "skipped": [
            {"file": str(fault.path), "kind": fault.kind, "reason": fault.what} for fault in skipped
        ],
        "fixed": [
            {"file": str(repair.path), "kind": repair.kind, "what": repair.what} for repair in fixed
        ],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", errors="backslashreplace")
