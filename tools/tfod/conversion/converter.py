"""Annotated pictures -> a data set: everything is checked first, then it is written whole."""

from __future__ import annotations

import csv
import functools
import hashlib
import itertools
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tfod.annotation import Annotation
from tfod.conversion import checks
from tfod.conversion.annotation_folder import read_folder
from tfod.conversion.split import split_annotations, split_fractions
from tfod.conversion.split_file import apply_split
from tfod.dataset import manifest, records
from tfod.dataset.label_map import LABEL_MAP, read_label_map, write_label_map
from tfod.dataset.manifest import Dataset
from tfod.dataset.tf_example import Example
from tfod.errors import UserError
from tfod.files import read_bytes, refuse_existing, replacing_folder
from tfod.images import EncodedImage, encode_for_training
from tfod.parallel import counted_map, ordered_map, prepare_processes
from tfod.progress import Progress, silent

TABLE = "annotations.csv"
FEW_PICTURES = 1000  # writing so many takes less time than starting processes
CHANGED = "Convert again when nothing writes there"
Parts = dict[str, list[Annotation]]  # by split
COLUMNS = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "split"]


def convert(
    annotations: Path,
    images: Path,
    output: Path,
    *,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    label_map: Path | None = None,
    shards: int | None = None,
    split_by: Path | None = None,
    group_by: str | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    decode: bool = True,
    workers: int | None = None,
    beam: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Makes a data set for training from annotation files and their pictures.

    `output` gets TFRecord shards of each split, `label_map.pbtxt`, `annotations.csv` and
    `dataset.json`. It appears when all of it is written; on an error, or Ctrl-C, nothing is left.
    The same files, options and machine give the same bytes.

    Args:
      annotations: PASCAL VOC, COCO, YOLO or CSV, see `formats.find_annotations`.
      images: folder of the pictures, searched with its subfolders.
      split: fractions of train, val and test, which sum to 1; a split of 0 is left out.
      split_by: a file or folder that says where each picture goes, see `split_file.read_split`.
      group_by: a regular expression; pictures in whose relative path it finds the same (its first
        group, where it has one) go to one split. One that it finds nothing in is on its own.
      label_map: a label map whose classes and ids are kept; None numbers the classes found, sorted
        by name, from 1.
      shards: files a split; None for one each 128 MiB of pictures.
      seed: decides the split and the order of the training records.
      skip_bad: leaves out annotations with a fault and lists them in `dataset.json`.
      decode: decodes every picture to learn whether that can be done; else only headers are read.
      workers: processes; None for one a processor. They start as modules do that import this one,
        so a script that calls `convert` needs its `if __name__ == "__main__":`.
      beam: options of an Apache Beam pipeline that does the work in place of local processes, see
        `beam.beam_map`. The bytes are the same.
      overwrite: replaces a data set that is there.
      progress: called as `progress(stage, done, total)`, with the stages "check" and "write".

    Raises:
      BadFilesError: the faults of all files; nothing is written.
      UserError: the folders or options cannot be used.
    """
    annotations, images, output = Path(annotations), Path(images), Path(output)
    if workers != 1 and not beam:
        prepare_processes(__name__)
    for option, number in (("--shards", shards), ("--workers", workers)):
        if number is not None and number < 1:
            raise UserError(option, f"is {number}", "Give 1 or more")
    deal = _dealer(split, split_by, group_by, seed)
    _check_output(output, overwrite, (annotations, images))
    mapped = functools.partial(ordered_map, workers=workers)
    if beam:
        from tfod.conversion.beam import beam_map

        output.parent.mkdir(parents=True, exist_ok=True)
        mapped = functools.partial(beam_map, options=beam, scratch=output.parent)
    given = read_label_map(Path(label_map)) if label_map else None
    names = given.values() if given else None
    with warnings.catch_warnings():
        # What is wrong with a picture is reported as its fault; Pillow's remarks name no file.
        warnings.filterwarnings("ignore", module="PIL")
        checked = read_folder(
            annotations,
            images,
            classes=names,
            skip_bad=skip_bad,
            decode=decode,
            mapped=mapped,
            progress=progress,
        )
    found = sorted({box.name for annotation in checked.annotations for box in annotation.objects})
    if not found:
        raise UserError(annotations, "no annotation holds an object", "Draw some boxes")
    classes = given or dict(enumerate(found, 1))
    parts, fractions = deal(checked.annotations)
    class_ids = {name: class_id for class_id, name in classes.items()}
    total = len(checked.annotations)
    with replacing_folder(output) as partial:
        tasks = []
        splits = {}
        for name, part in parts.items():
            if name == "train":  # evaluation reads in file order, training wants classes mixed
                random.Random(seed).shuffle(part)
            count = min(shards or _shard_count(part), len(part))
            paths = [partial / shard for shard in records.shard_names(name, count)]
            ends = [len(part) * index // count for index in range(count + 1)]
            tasks += zip(paths, (part[a:b] for a, b in itertools.pairwise(ends)), strict=True)
            splits[name] = manifest.describe_split(part, class_ids, paths)
        write = functools.partial(_write_shard, class_ids)

        def report(done: int) -> None:
            progress("write", done, total)

        if beam:
            mapped(functools.partial(write, tick=lambda: None), tasks, chunk=1)
            report(total)
        else:
            counted_map(write, tasks, report, workers if total > FEW_PICTURES else 1)
        write_label_map(partial / LABEL_MAP, classes)
        _write_table(partial / TABLE, parts)
        manifest.write_manifest(
            *(partial, splits, fractions, seed),
            remarks=checks.remarks(checked.annotations),
            skipped=checked.skipped,
            unannotated=checked.unannotated,
        )
    return manifest.load_dataset(output)


def _dealer(
    split: Sequence[float], split_by: Path | None, group_by: str | None, seed: int
) -> Callable[[Sequence[Annotation]], tuple[Parts, dict[str, float]]]:
    """What deals annotations to splits, and tells the fraction of each; its options are checked."""
    fractions = split_fractions(split)
    group_of = None if group_by is None else _group_finder(group_by)
    if split_by is None:
        return lambda checked: (split_annotations(checked, fractions, seed, group_of), fractions)
    if group_of:
        raise UserError("--group-by", "goes with no --split-by", "Give one of the two")

    def deal(checked: Sequence[Annotation]) -> tuple[Parts, dict[str, float]]:
        parts = apply_split(checked, Path(split_by))
        return parts, {name: round(len(part) / len(checked), 4) for name, part in parts.items()}

    return deal


def _write_shard(
    class_ids: Mapping[str, int],
    shard: tuple[Path, Sequence[Annotation]],
    tick: Callable[[], None],
) -> None:
    path, annotations = shard

    def examples() -> Iterator[Example]:
        for annotation in annotations:
            image, digest = _load(annotation)
            yield records.make_example(annotation, image, class_ids, digest)
            tick()

    records.write_shard(path, examples())


def _load(annotation: Annotation) -> tuple[EncodedImage, bytes | None]:
    """The picture for a record, as it lies in the file where it may; and its SHA-256 if known."""
    if annotation.rotate or not annotation.training_format:
        return encode_for_training(annotation.image, annotation.rotate), None
    try:
        data = read_bytes(annotation.image)
    except OSError as error:
        raise UserError(annotation.image, f"cannot be read: {error.strerror}", CHANGED) from error
    digest = hashlib.sha256(data).digest()
    if digest != annotation.digest:
        raise UserError(annotation.image, "was changed since it was checked", CHANGED)
    size = (annotation.width, annotation.height)
    return EncodedImage(data, annotation.training_format, *size), digest


def _group_finder(pattern: str) -> Callable[[Annotation], str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        what = f"{pattern!r} is no regular expression: {error}"
        raise UserError("--group-by", what, r"Give one such as '^(.*)_\d+'") from error

    def group_of(annotation: Annotation) -> str:
        path = annotation.source_id
        found = compiled.search(path)
        if found is None:
            return path
        return found.group(1 if compiled.groups else 0) or path

    return group_of


def _check_output(output: Path, overwrite: bool, sources: Sequence[Path]) -> None:
    """Refuses an output that is there, or whose replacement would delete what is no data set."""
    refuse_existing(output, overwrite)
    if output.name in ("", ".."):
        raise UserError(output, "has no name of its own", "Name a new folder")
    if output.is_dir() and any(output.iterdir()) and not (output / manifest.MANIFEST).is_file():
        what = f"holds other files and no {manifest.MANIFEST}, so it is not overwritten"
        raise UserError(output, what, "Choose another --output")
    for source in sources:
        if source.resolve().is_relative_to(output.resolve()):
            raise UserError(output, f"would replace {source}", "Choose another --output")


def _shard_count(part: Sequence[Annotation]) -> int:
    size = sum(annotation.file_size for annotation in part)
    return -(-size // records.SHARD_BYTES)


def _write_table(path: Path, parts: Mapping[str, Sequence[Annotation]]) -> None:
    """Writes one row a box in pixels; a picture without objects is a row without class and box."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for split, part in parts.items():
            for annotation in sorted(part, key=lambda annotation: annotation.source_id.split("/")):
                picture = (annotation.source_id, annotation.width, annotation.height)
                for box in annotation.objects:
                    # Whole pixels are whole numbers, unless somebody drew between them.
                    whole = (int(at) if at.is_integer() else at for at in map(float, box.corners))
                    table.writerow((*picture, box.name, *whole, split))
                if not annotation.objects:
                    table.writerow((*picture, "", "", "", "", "", split))
