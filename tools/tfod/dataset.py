"""A folder of annotations -> splits, label map, manifest; and a converted data set read back.

A data set is a folder with TFRecord shards, `label_map.pbtxt` and `dataset.json`, the manifest.
TensorFlow is not loaded here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tfod import checks, pictures, raw_annotation, sources
from tfod.annotation import Annotation
from tfod.errors import BadFilesError, FileFault, UserError
from tfod.label_map import LABEL_MAP, read_label_map
from tfod.parallel import ordered_map

MANIFEST = "dataset.json"
MANIFEST_VERSION = 1

# (function, items) to the results in order.
Mapped = Callable[[Callable, Sequence], Iterable]
Progress = Callable[[str, int, int], None]  # what is done ("check", "write"), how many, of how many


@dataclass(frozen=True)
class CheckedFolder:
    """What a folder of annotations came to.

    Attributes:
      annotations: the good ones, by the relative path of their files.
      skipped: the faults of the others.
      unannotated: how many pictures no annotation file belongs to. They are not used; a picture
        that shows no object takes part by an annotation without objects.
    """

    annotations: tuple[Annotation, ...]
    skipped: tuple[FileFault, ...]
    unannotated: int


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
      images: number of pictures.
      negatives: how many of them show no object.
      objects: number of boxes.
      most_objects: number of boxes in the picture that has most.
      objects_per_class: number of boxes by class name; every class of the label map is in it.
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
      folder: where it lies.
      label_map: its label map file.
      classes: class names by id; ids from 1, in ascending order.
      splits: by name, of train, val and test those that are not empty.
      remarks: what a person should know about it.
    """

    folder: Path
    label_map: Path
    classes: dict[int, str]
    splits: dict[str, Split]
    remarks: tuple[checks.Remark, ...] = ()

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
          UserError: there is none.
        """
        if name not in self.splits:
            raise UserError(
                self.folder,
                f"has no split {name!r}, only {', '.join(self.splits)}",
                "Choose one of these, or convert again with another --split",
            )
        return self.splits[name]


def load_dataset(folder: Path) -> Dataset:
    """Reads a data set that `tfod convert` wrote.

    Raises:
      UserError: the folder, its manifest, its label map or a shard is missing or damaged.
    """
    folder, again = Path(folder), "Run tfod convert again"
    manifest = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(folder, "is no folder", "Name a folder that tfod convert wrote")
    if not manifest.is_file():
        raise UserError(
            folder, f"is no data set: it has no {MANIFEST}", "Name a folder that tfod convert wrote"
        )
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["version"] != MANIFEST_VERSION:
            raise UserError(manifest, "was written by another version of tfod", again)
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
        remarks = tuple(checks.Remark(**remark) for remark in content.get("remarks", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(manifest, "is damaged", again) from error
    missing = [
        shard.name for split in splits.values() for shard in split.shards if not shard.is_file()
    ]
    if missing:
        raise UserError(folder, f"lacks {', '.join(missing)}", again)
    classes = read_label_map(folder / LABEL_MAP)
    return Dataset(folder, folder / LABEL_MAP, classes, splits, remarks)


def read_folder(
    annotations: Path,
    images: Path,
    *,
    classes: Collection[str] | None = None,
    skip_bad: bool = False,
    decode: bool = True,
    mapped: Mapped = ordered_map,
    progress: Progress | None = None,
) -> CheckedFolder:
    """Reads and checks annotations, and the pictures they belong to.

    Args:
      annotations: see `sources.find_source`.
      images: folder of the pictures, searched with its subfolders.
      classes: names that may occur; None for any.
      skip_bad: goes on without the files that have a fault.
      decode: decodes every picture; else only its header is read.
      mapped: does the work, like `parallel.ordered_map`.

    Raises:
      BadFilesError: the faults of all files, unless `skip_bad`.
      UserError: a folder is missing, or there is no annotation, or none without a fault.
    """
    if not images.is_dir():
        raise UserError(images, "is no folder", "Name the folder of the pictures")
    source = sources.find_source(annotations)
    listed = pictures.list_pictures(images)

    names = None if classes is None else frozenset(classes)
    check = partial(_check, source.read, listed, names, decode)
    good: dict[str, Annotation] = {}
    faults: list[FileFault] = []
    bad_stems = set()
    total = len(source.items)
    for done, result in enumerate(mapped(check, source.items), 1):
        if isinstance(result, _Rejected):
            faults += result.faults
            bad_stems.add(result.stem)
        elif result.source_id in good:
            what = f"its picture {result.image} is that of {good[result.source_id].source} too"
            remedy = "Remove one of the two"
            faults.append(FileFault(result.source, "image shared", what, remedy))
        else:
            good[result.source_id] = result
        if progress:
            progress("check", done, total)
    spellings = [] if classes else checks.spellings(annotations, good.values())
    if spellings or (faults and not skip_bad):
        raise BadFilesError(annotations, [*faults, *spellings])
    if not good:
        raise UserError(
            annotations,
            f"none of its {total} annotations can be used",
            "Run without --skip-bad to see why",
        )
    unannotated = sum(
        path not in good and PurePosixPath(path).stem not in bad_stems for path in listed
    )
    return CheckedFolder(tuple(good.values()), tuple(faults), unannotated)


@dataclass(frozen=True)
class _Rejected:
    """An annotation that cannot be used: its faults, and its picture's name without suffix."""

    faults: tuple[FileFault, ...]
    stem: str


def _check(
    read: Callable[..., raw_annotation.RawAnnotation],
    listed: pictures.PictureFolder,
    classes: Collection[str] | None,
    decode: bool,
    item: object,
) -> Annotation | _Rejected:
    stem = ""
    try:
        raw = read(item)
        stem = PurePosixPath(raw.filename).stem or raw.other_stem
        return raw_annotation.check(raw, listed, classes, decode)
    except BadFilesError as error:
        return _Rejected(error.errors, stem or Path(error.path).stem)


def describe_split(
    annotations: Sequence[Annotation], classes: Iterable[str], shards: Sequence[Path]
) -> Split:
    """Counts what a split holds."""
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
    checked: CheckedFolder,
) -> None:
    """Writes `dataset.json`: how it was made, what is in it, left out and worth a remark."""
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
        "pictures_without_annotation": checked.unannotated,
        "remarks": [vars(remark) for remark in checks.remarks(checked.annotations)],
        "skipped": [
            {"file": str(fault.path), "kind": fault.kind, "reason": fault.what}
            for fault in checked.skipped
        ],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", errors="backslashreplace")
