"""A folder of annotations and one of images -> checked annotations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tfod import image_files
from tfod.annotation import Annotation, formats, raw_annotation
from tfod.conversion import checks
from tfod.errors import BadFilesError, FileFault, UserError
from tfod.parallel import ordered_map
from tfod.progress import Progress, silent

# (function, items) to the results in order.
Mapped = Callable[[Callable, Sequence], Iterable]


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


def read_folder(
    annotations: Path,
    images: Path,
    *,
    classes: Collection[str] | None = None,
    skip_bad: bool = False,
    decode: bool = True,
    mapped: Mapped = ordered_map,
    progress: Progress = silent,
) -> CheckedFolder:
    """Reads and checks annotations, and the pictures they belong to.

    Args:
      annotations: see `formats.find_annotations`.
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
    source = formats.find_annotations(annotations)
    listed = image_files.list_images(images)

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
    listed: image_files.ImageFolder,
    classes: Collection[str] | None,
    decode: bool,
    item: object,
) -> Annotation | _Rejected:
    stem = ""
    try:
        raw = read(item)
        stem = PurePosixPath(raw.filename).stem or raw.other_stem
        return raw_annotation.check_annotation(raw, listed, classes, decode)
    except BadFilesError as error:
        return _Rejected(error.errors, stem or Path(error.path).stem)
