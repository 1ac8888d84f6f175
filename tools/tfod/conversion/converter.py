"""Converts annotated images to a data set. All files are checked before anything is written."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tfod.annotation import Annotation, formats
from tfod.annotation.raw_annotation import Exif
from tfod.beam import Cluster, beam_map
from tfod.conversion import checks, similar_groups, tiling
from tfod.conversion.annotation_folder import MapFunction, read_folder
from tfod.conversion.split import split_annotations, split_fractions
from tfod.conversion.split_file import apply_split
from tfod.conversion.table import write_table
from tfod.dataset import manifest, records
from tfod.dataset.label_map import LABEL_MAP, read_label_map, write_label_map
from tfod.dataset.manifest import Dataset, Remark, Split
from tfod.dataset.tf_example import Example
from tfod.errors import UserError
from tfod.files import read_bytes, replacing_folder
from tfod.image_files import list_files
from tfod.images import HEIC_SUFFIXES, EncodedImage, encode_for_training, encode_tiles
from tfod.images import suffixes as image_suffixes
from tfod.parallel import counted_map, ordered_map, prepare_processes
from tfod.progress import Progress, silent, tracked
from tfod.tiles import Tiles

FEW_IMAGES = 1000  # writing this many takes less time than starting processes
CHANGED = "Convert again while no other program changes the images"
Parts = dict[str, list[Annotation]]  # annotations by split
GroupFunction = Callable[[Annotation], str]


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
    tiles: Tiles | None = None,
    exif: Exif | None = None,
    fix: bool = False,
    workers: int | None = None,
    beam: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Makes a data set for training from annotation files and their images.

    Writes the TFRecord shards of each split, `label_map.pbtxt`, `annotations.csv` and
    `dataset.json` into `output`. The folder appears when it is complete; after an error or Ctrl-C
    nothing is left. The same files, options and machine give the same bytes.

    Args:
      annotations: PASCAL VOC, COCO, YOLO, CSV or MOT, see `formats.find_annotations`.
      images: folder of the images, searched with its subfolders.
      split: fractions of train, val and test, which sum to 1. A fraction of 0 omits the split.
        Ignored if `split_by` is given.
      split_by: a file or folder that assigns each image to a split, see `split_file.read_split`.
      group_by: a regular expression. Images go to the same split if it matches the same text in
        their relative paths (its first group, if it has one). An image without a match is a group
        of its own. "similar" puts images into the same split that nearly repeat each other, see
        `similarity`.
      label_map: a label map whose classes and ids are kept. None numbers the classes in the
        annotations from 1, sorted by name.
      shards: files per split; None for one per 128 MiB of images.
      seed: determines the split and the order of the training records.
      skip_bad: leaves out annotations with a fault and lists them in `dataset.json`.
      decode: decodes every image to check it; False does not decode the pixels.
      tiles: cuts the images of train and val into tiles, see `tiling.cut_into_tiles`, for small
        objects in large images. Those of test stay whole: a detector that is trained on tiles cuts
        images itself.
      exif: whether boxes were drawn on images rotated by their EXIF orientation ("apply") or not
        ("ignore"), where the annotated size does not show it. None for "apply", with a remark.
      fix: repairs faults where no guess is needed, and lists the repairs in `dataset.json`, see
        `raw_annotation.check_annotation`.
      workers: number of processes; None for one per CPU. The processes import the main
        module, so a script that calls `convert` needs `if __name__ == "__main__":`.
      beam: options of an Apache Beam pipeline that does the work instead of local processes, see
        `beam.beam_map`. The output is the same.
      overwrite: replaces an existing data set.
      progress: called as `progress(stage, done, total)`, with the stages "check", "compare"
        and "find similar" (only for similar images) and "write", and by `beam_map`.

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
    assign_splits = _split_function(split, split_by, group_by, seed)
    group_of = _group_function(group_by) if group_by not in (None, similar_groups.SIMILAR) else None
    fixed_classes = _read_classes(Path(label_map)) if label_map else None
    with replacing_folder(
        output,
        overwrite,
        check_old=manifest.DATASET.check,
        inputs=(annotations, images),
    ) as partial:
        map_function: MapFunction = functools.partial(ordered_map, workers=workers)
        if beam:
            # Not in NAME.partial, which the next call deletes.
            cluster = Cluster(beam, partial.parent.parent)
            map_function = functools.partial(_beam_map, cluster, annotations, images, progress)
        with warnings.catch_warnings():
            # Faults of an image are reported with its path; Pillow's warnings name no file.
            warnings.filterwarnings("ignore", module="PIL")
            checked = read_folder(
                annotations,
                images,
                classes=fixed_classes.values() if fixed_classes else None,
                skip_bad=skip_bad,
                decode=decode,
                exif=exif,
                fix=fix,
                map_function=map_function,
                progress=progress,
            )
        _class_names(annotations, checked.annotations)  # an error before those of the split
        similar: list[Remark] = []
        if group_by == similar_groups.SIMILAR:
            group_of, similar = _group_similar(checked.annotations, map_function, progress)
        parts, fractions = assign_splits(checked.annotations, group_of)
        used = itertools.chain(*parts.values())
        classes = fixed_classes or dict(enumerate(_class_names(annotations, used), 1))
        if "train" in parts:  # training needs mixed classes, evaluation keeps the file order
            random.Random(seed).shuffle(parts["train"])
        tiled = _cut_into_tiles(parts, tiles, seed) if tiles else {}
        written = parts | {name: split.annotations for name, split in tiled.items()}
        splits = _write_shards(partial, written, classes, shards, workers, beam, progress)
        write_label_map(partial / LABEL_MAP, classes)
        write_table(partial / manifest.TABLE, parts)
        manifest.write_manifest(
            partial,
            splits,
            fractions,
            seed,
            remarks=[
                *checks.remarks(checked.annotations, parts, checked.unannotated),
                *similar,
                *_on_tiles(parts, tiled, tiles),
                *checks.on_skipped(
                    checked.skipped, checked.total - len(checked.annotations), checked.total
                ),
            ],
            skipped=checked.skipped,
            fixed=checks.repairs(checked.annotations, parts),
            unannotated=checked.unannotated,
            tiles=tiles,
        )
    return manifest.load_dataset(output)


def _split_function(
    split: Sequence[float], split_by: Path | None, group_by: str | None, seed: int
) -> Callable[[Sequence[Annotation], GroupFunction | None], tuple[Parts, dict[str, float]]]:
    """Checks the split options and returns the function that assigns annotations to splits.

    That function gets the annotations and the groups that `--group-by` gives them. It returns the
    annotations and the fraction of each split.
    """
    fractions = split_fractions(split)
    if split_by is None:
        return lambda checked, group_of: (
            split_annotations(checked, fractions, seed, group_of),
            fractions,
        )
    if group_by is not None:
        raise UserError("--group-by", "cannot be combined with --split-by", "Give one of the two")

    def split_from_file(
        checked: Sequence[Annotation], _: GroupFunction | None
    ) -> tuple[Parts, dict[str, float]]:
        parts = apply_split(checked, Path(split_by))
        used = sum(map(len, parts.values()))
        return parts, {name: round(len(part) / used, 4) for name, part in parts.items()}

    return split_from_file


def _beam_map(
    cluster: Cluster,
    annotations: Path,
    images: Path,
    progress: Progress,
    function: Callable,
    items: Sequence,
) -> Iterator:
    """Runs a function that only reads, so that it can use the results of a killed process."""
    found = [annotations] if annotations.is_file() else list_files(annotations, formats.SUFFIXES)
    files = [*found, *list_files(images, image_suffixes() | HEIC_SUFFIXES)]
    return beam_map(function, items, cluster, files=files, progress=progress)


def _read_classes(label_map: Path) -> dict[int, str]:
    """Returns the classes of a label map by id, in Unicode form NFC like those of annotations."""
    classes = read_label_map(label_map)
    composed = {class_id: unicodedata.normalize("NFC", name) for class_id, name in classes.items()}
    if len(set(composed.values())) < len(composed):
        what = "contains a class twice, with accents stored in different ways"
        raise UserError(label_map, what, "Keep one of the two")
    return composed


def _class_names(annotations: Path, used: Iterable[Annotation]) -> list[str]:
    names = sorted({box.name for annotation in used for box in annotation.objects})
    if not names:
        raise UserError(annotations, "no annotation contains an object", "Annotate some objects")
    return names


def _write_shards(
    folder: Path,
    parts: Parts,
    classes: Mapping[int, str],
    shards: int | None,
    workers: int | None,
    beam: Sequence[str],
    progress: Progress,
) -> dict[str, Split]:
    """Writes the TFRecord files of all splits, and returns the statistics of the splits."""
    class_ids = {name: class_id for class_id, name in classes.items()}
    tasks: list[tuple[Path, Sequence[Annotation]]] = []
    splits = {}
    for name, part in parts.items():
        count = min(shards or _shard_count(part), len(part))
        paths = [folder / shard for shard in records.shard_names(name, count)]
        ends = [len(part) * index // count for index in range(count + 1)]
        tasks += zip(paths, (part[a:b] for a, b in itertools.pairwise(ends)), strict=True)
        splits[name] = manifest.describe_split(part, class_ids, paths)
    write = functools.partial(_write_shard, class_ids)
    total = sum(map(len, parts.values()))

    def report(done: int) -> None:
        progress("write", done, total)

    if beam:
        # Without `files`: the shards of a killed process are not in the new folder.
        cluster = Cluster(beam, folder.parent)
        write = functools.partial(write, tick=_ignore)
        for _ in beam_map(write, tasks, cluster, chunk=1, progress=progress):
            pass
        report(total)
    else:
        counted_map(write, tasks, report, workers if total > FEW_IMAGES else 1)
    return splits


def _write_shard(
    class_ids: Mapping[str, int],
    shard: tuple[Path, Sequence[Annotation]],
    tick: Callable[[], None],
) -> None:
    path, annotations = shard

    def examples() -> Iterator[Example]:
        # The tiles of an image follow one another, and it is decoded once for all of them.
        for _, group in itertools.groupby(annotations, lambda annotation: annotation.image):
            of_image = list(group)
            for annotation, (image, digest) in zip(of_image, _load_images(of_image), strict=True):
                yield records.make_example(annotation, image, class_ids, digest)
                tick()

    records.write_shard(path, examples())


def _ignore() -> None:
    """Counts nothing: a Beam worker cannot report progress."""


def _load_images(
    annotations: Sequence[Annotation],
) -> Iterator[tuple[EncodedImage, bytes | None]]:
    """Yields the image of each annotation for its record and its SHA-256, None if it is not known.

    Args:
      annotations: one of a whole image, or several of its tiles.
    """
    first = annotations[0]
    windows = [annotation.window for annotation in annotations if annotation.window is not None]
    if not windows:
        yield from map(_load_image, annotations)
        return
    for image in encode_tiles(_read_image(first), windows, first.rotate, first.without_end):
        yield image, None


def _load_image(annotation: Annotation) -> tuple[EncodedImage, bytes | None]:
    """Returns a whole image for a record and its SHA-256, None if it is not known.

    The bytes of the file are used unchanged if the OD API's decoder can read them.
    """
    data = _read_image(annotation)
    if annotation.rotate or not annotation.training_format:
        encoded = encode_for_training(annotation.image, annotation.rotate, annotation.without_end)
        return encoded, None
    size = (annotation.width, annotation.height)
    return EncodedImage(data, annotation.training_format, *size), annotation.digest


def _read_image(annotation: Annotation) -> bytes:
    """Returns the bytes of the image file that was checked."""
    try:
        data = read_bytes(annotation.image)
    except OSError as error:
        raise UserError(annotation.image, f"cannot be read: {error.strerror}", CHANGED) from error
    if hashlib.sha256(data).digest() != annotation.digest:
        raise UserError(annotation.image, "changed after it was checked", CHANGED)
    return data


def _cut_into_tiles(parts: Parts, tiles: Tiles, seed: int) -> dict[str, tiling.TiledSplit]:
    """Returns the tiles of the splits that training uses."""
    return {
        name: tiling.cut_into_tiles(part, tiles, seed)
        for name, part in parts.items()
        if name != "test"
    }


def _on_tiles(
    parts: Parts, tiled: Mapping[str, tiling.TiledSplit], tiles: Tiles | None
) -> list[Remark]:
    if tiles is None:
        return tiling.suggest_tiles(itertools.chain(*parts.values()))
    return tiling.remarks(tiles, {name: (len(parts[name]), split) for name, split in tiled.items()})


def _group_similar(
    annotations: Sequence[Annotation], map_function: MapFunction, progress: Progress
) -> tuple[GroupFunction, list[Remark]]:
    """Returns the function that groups similar images, and the remarks on its groups."""
    results = map_function(_hash_image, annotations)
    hashes = list(tracked(results, progress, "compare", len(annotations)))
    groups = similar_groups.group_similar(annotations, hashes, progress)
    return lambda annotation: groups[annotation.source_id], similar_groups.remarks(groups)


def _hash_image(annotation: Annotation) -> bytes | None:
    """Returns the hash of the image in its record, which `tfod inspect` compares."""
    from tfod.similarity import image_hash  # loads NumPy

    return image_hash(_load_image(annotation)[0].data)


def _group_function(pattern: str) -> GroupFunction:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        what = f"{pattern!r} is not a regular expression: {error}"
        raise UserError("--group-by", what, r"Give one such as '^(.*)_\d+'") from error

    def group_of(annotation: Annotation) -> str:
        path = annotation.source_id
        match = compiled.search(path)
        if match is None:
            return path
        return match.group(1 if compiled.groups else 0) or path

    return group_of


def _shard_count(part: Sequence[Annotation]) -> int:
    size = sum(annotation.file_size for annotation in part)
    return -(-size // records.SHARD_BYTES)
