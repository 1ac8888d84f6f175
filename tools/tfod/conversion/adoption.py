"""Makes a data set from TFRecord files that other programs wrote. Every record is checked."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod.annotation import Annotation
from tfod.conversion import checks, record_files
from tfod.conversion.record_check import CheckedRecord, LabelMap, check_record
from tfod.conversion.split import SPLITS
from tfod.conversion.table import write_table
from tfod.dataset import manifest, records, tfrecord
from tfod.dataset.label_map import LABEL_MAP, read_label_map, read_names, write_label_map
from tfod.dataset.manifest import Dataset, Remark
from tfod.errors import BadFilesError, FileFault, UserError, quoted
from tfod.files import replacing_folder
from tfod.parallel import threaded_map
from tfod.progress import Progress, silent

SKIP = "Write them again, or skip the records with --skip-bad"
DAMAGED = "Download or write the file again"
_Faults = tuple[FileFault, ...]


def adopt(
    source: Path | Mapping[str, Path],
    output: Path,
    *,
    label_map: Path | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Makes a data set for training from TFRecord files of the OD API.

    Copies the records into `output`, one at a time, and writes `label_map.pbtxt`,
    `annotations.csv` and `dataset.json`, as `convert` does. Only records that lack something are
    changed, see `check_record`. The folder appears when it is complete; after an error or Ctrl-C
    nothing is left.

    Args:
      source: a folder with all splits, see `record_files.find_splits`; or the files of each split
        by its name (train, val, test), see `record_files.find_files`.
      label_map: with the class ids of the records. None for the one in the folder `source`.
      skip_bad: leaves out records with a fault and lists them in `dataset.json`.
      overwrite: replaces an existing data set.
      progress: called as `progress("adopt", done, total)`, in bytes.

    Raises:
      BadFilesError: the faults of all records; nothing is written.
      UserError: the files or options cannot be used.
    """
    if isinstance(source, Mapping):
        given = {split: Path(source[split]) for split in SPLITS if split in source}
        files = {split: record_files.find_files(path) for split, path in given.items()}
        name = ", ".join(map(str, given.values()))
    else:
        files = record_files.find_splits(Path(source))
        label_map = label_map or record_files.find_label_map(Path(source), files)
        name = str(source)
    if not files:
        raise UserError("tfod adopt", "has no TFRecord files", f"Give {record_files.OPTIONS}")
    if label_map is None:
        raise UserError("--label-map", "is missing", "Give the label map of the records")
    _refuse_shared_files(files)
    labels = LabelMap(read_label_map(label_map), read_names(label_map))
    with (
        replacing_folder(
            output,
            overwrite,
            check_old=manifest.DATASET.check,
            inputs=[label_map, *(path for paths in files.values() for path in paths)],
        ) as partial,
        warnings.catch_warnings(),
    ):
        # Faults of an image are reported with its record; Pillow's warnings name no file.
        warnings.filterwarnings("ignore", module="PIL")
        copies = list(_copy_files(files, partial, labels, progress))
        faults = [fault for copy in copies for fault in copy.faults]
        if faults and not skip_bad:
            raise BadFilesError(name, faults, SKIP)
        _write_rest(partial, name, copies, faults, labels)
    return manifest.load_dataset(output)


def _refuse_shared_files(files: Mapping[str, Sequence[Path]]) -> None:
    """Raises a UserError if a file is given for two splits."""
    split_of: dict[Path, str] = {}
    for split, paths in files.items():
        for path in paths:
            other = split_of.setdefault(path.resolve(), split)
            if other != split:
                what = f"is given for {other} and for {split}"
                raise UserError(path, what, "Give each file for one split")


@dataclass(frozen=True)
class _Place:
    """A record in a file: its number from 1, and the offset and length of its data in bytes."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True)
class _Copy:
    """The records of a TFRecord file that were copied, and the faults of the others.

    Attributes:
      shard: the new file; it has no final name yet.
      annotations: one per copied record.
      changed: one entry per copied record that was changed: the names of the changed features.
      skipped: number of the other records.
    """

    split: str
    shard: Path
    annotations: tuple[Annotation, ...]
    changed: tuple[tuple[str, ...], ...]
    faults: tuple[FileFault, ...]
    skipped: int


def _copy_files(
    files: Mapping[str, Sequence[Path]], folder: Path, labels: LabelMap, progress: Progress
) -> Iterator[_Copy]:
    """Checks all records, and copies those without faults to one new file per file."""
    total = sum(path.stat().st_size for paths in files.values() for path in paths)
    repetitions, done = _Repetitions(), 0
    for split, paths in files.items():
        numbered = 0
        for index, path in enumerate(paths):

            def report(end: int, before: int = done) -> None:
                progress("adopt", before + end, total)

            report(0)
            copy = _copy_file(
                split, path, folder / f"{split}-{index}", numbered, labels, repetitions, report
            )
            yield copy
            numbered += len(copy.annotations) + copy.skipped
            done += path.stat().st_size
    progress("adopt", done, total)


def _copy_file(
    split: str,
    path: Path,
    shard: Path,
    numbered: int,
    labels: LabelMap,
    repetitions: _Repetitions,
    report: Callable[[int], None],
) -> _Copy:
    """Checks the records of a file, and copies those without faults. Threads read a few ahead.

    Args:
      numbered: number of records before this file in the split, to number those without a name.
      report: called with the number of bytes of the file that were read.
    """
    annotations: list[Annotation] = []
    changed: list[tuple[str, ...]] = []
    faults: list[FileFault] = []
    skipped = 0

    def check(item: _Place | FileFault) -> CheckedRecord | _Faults:
        if isinstance(item, FileFault):
            return (item,)
        return _check(path, item, f"{split}-{numbered + item.number}", labels)

    with shard.open("wb") as file:
        for result in threaded_map(check, _places(path, report)):
            if isinstance(result, CheckedRecord):
                result = repetitions.faults(result, split) or result
            if isinstance(result, CheckedRecord):
                tfrecord.write_record(file, result.data)
                annotations.append(result.annotation)
                changed += [result.changed] if result.changed else []
            else:
                faults += result
                skipped += 1
    return _Copy(split, shard, tuple(annotations), tuple(changed), tuple(faults), skipped)


def _places(path: Path, report: Callable[[int], None]) -> Iterator[_Place | FileFault]:
    """Yields the records of a file; if it is damaged, those before the damage, and a fault."""
    number = 0
    try:
        for number, (offset, length) in enumerate(tfrecord.record_places(path), 1):
            yield _Place(number, offset, length)
            report(offset + length)
    except UserError as error:
        what = f"after record {number}, it {error.what}" if number else error.what
        yield FileFault(path, "file damaged", what, DAMAGED)
    else:
        if not number:
            yield FileFault(path, "file empty", "contains no records", DAMAGED)


def _check(path: Path, place: _Place, other_id: str, labels: LabelMap) -> CheckedRecord | _Faults:
    try:
        data = tfrecord.read_record(path, place.offset, place.length)
        return check_record(data, path, place.number, other_id, labels)
    except BadFilesError as error:
        return tuple(fault for fault in error.errors if isinstance(fault, FileFault))
    except UserError as error:
        what = f"record {place.number} {error.what}"
        return (FileFault(path, "file damaged", what, DAMAGED),)


class _Repetitions:
    """Finds records with the name of another one, and images that are in two splits."""

    def __init__(self) -> None:
        self._by_id: dict[str, str] = {}
        self._by_image: dict[bytes, tuple[str, str]] = {}

    def faults(self, record: CheckedRecord, split: str) -> _Faults:
        """Returns the faults of the next record; remembers it if there are none."""
        annotation = record.annotation
        this = f"record {record.number} of {annotation.source}"
        same_id = self._by_id.get(annotation.source_id)
        image_split, same_image = self._by_image.get(annotation.digest, (split, this))
        if same_id is not None:
            kind, what = "name repeated", f"has the same image/source_id as {same_id}"
            remedy = "Remove one of the two, or write it with another image/source_id"
        elif image_split != split:
            kind = "image in two splits"
            what = f"is in {split}, but the same image is {same_image} in {image_split}"
            remedy = "Remove one of the two"
        else:
            self._by_id[annotation.source_id] = this
            self._by_image.setdefault(annotation.digest, (split, this))
            return ()
        what = f"record {record.number} ({quoted(annotation.source_id)}) {what}"
        return (FileFault(annotation.source, kind, what, remedy),)


def _write_rest(
    folder: Path,
    name: str,
    copies: Sequence[_Copy],
    faults: Sequence[FileFault],
    labels: LabelMap,
) -> None:
    """Names the shards, and writes the other files of the data set.

    Args:
      name: of the input, for messages.

    Raises:
      UserError: no record of a split can be used, or no record contains an object.
    """
    parts: dict[str, list[Annotation]] = {}
    shards: dict[str, list[Path]] = {}
    for copy in copies:
        parts.setdefault(copy.split, []).extend(copy.annotations)
        shards.setdefault(copy.split, []).append(copy.shard)
        if not copy.annotations:
            shards[copy.split].pop().unlink()
    for split, part in parts.items():
        if not part:
            what = f"none of the records of {split} can be used"
            raise UserError(name, what, "Run without --skip-bad to see why")
        names = records.shard_names(split, len(shards[split]))
        shards[split] = [
            shard.rename(folder / new) for shard, new in zip(shards[split], names, strict=True)
        ]
    annotations = [annotation for part in parts.values() for annotation in part]
    if not any(annotation.objects for annotation in annotations):
        raise UserError(name, "no record contains an object", "Annotate some objects")
    write_label_map(folder / LABEL_MAP, labels.classes)
    write_table(folder / manifest.TABLE, parts)
    manifest.write_manifest(
        folder,
        {
            split: manifest.describe_split(part, labels.classes.values(), shards[split])
            for split, part in parts.items()
        },
        {split: round(len(part) / len(annotations), 4) for split, part in parts.items()},
        seed=0,
        remarks=[*checks.remarks(annotations, parts), *_remarks(annotations, copies)],
        skipped=faults,
        unannotated=0,
    )


def _remarks(annotations: Iterable[Annotation], copies: Sequence[_Copy]) -> Iterator[Remark]:
    """Yields what is different from the records of others: changed features, skipped records."""
    unclear = sum("orientation ignored" in annotation.fixes for annotation in annotations)
    if unclear:
        images = "1 image has" if unclear == 1 else f"{unclear} images have"
        what = (
            f"{images} an EXIF orientation, and the size in the record does not show whether boxes "
            "were drawn on the rotated image; the pixels are used as stored, as in the OD API; "
            "check the boxes with tfod inspect"
        )
        yield Remark("orientation ignored", unclear, what)
    changed = [features for copy in copies for features in copy.changed]
    skipped = sum(copy.skipped for copy in copies)
    total = skipped + sum(len(copy.annotations) for copy in copies)
    if changed:
        counts = Counter(feature for features in changed for feature in features)
        listed = ", ".join(f"{feature} in {count}" for feature, count in counts.most_common())
        what = f"records completed or corrected: {len(changed)} of {total} ({listed})"
        yield Remark("record changed", len(changed), what)
    faults = [fault for copy in copies for fault in copy.faults]
    yield from checks.on_skipped(faults, skipped, total, "records")
