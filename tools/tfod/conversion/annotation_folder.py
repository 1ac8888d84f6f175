"""Reads and checks a folder of annotations and a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from tfod import image_files
from tfod.annotation import Annotation, formats, raw_annotation
from tfod.conversion import checks
from tfod.errors import BadFilesError, FileFault, UserError
from tfod.parallel import ordered_map
from tfod.progress import Progress, silent

# Applies a function to items and returns the results in order, like `parallel.ordered_map`.
MapFunction = Callable[[Callable, Sequence], Iterable]


@dataclass(frozen=True)
class CheckedFolder:
    """The result of checking a folder of annotations.

    Attributes:
      annotations: the annotations without faults, sorted by the relative path of their files.
      skipped: the faults of the others.
      total: number of annotations, with the skipped ones.
      unannotated: number of images without annotation file. They are not used; to use an image
        without objects, give it an annotation without objects.
    """

    annotations: tuple[Annotation, ...]
    skipped: tuple[FileFault, ...]
    unannotated: int
    total: int


def read_folder(
    annotations: Path,
    images: Path,
    *,
    classes: Collection[str] | None = None,
    skip_bad: bool = False,
    decode: bool = True,
    exif: raw_annotation.Exif | None = None,
    fix: bool = False,
    map_function: MapFunction = ordered_map,
    progress: Progress = silent,
) -> CheckedFolder:
    """Reads and checks annotations and their images.

    Args:
      annotations: see `formats.find_annotations`.
      images: folder of the images, searched with its subfolders.
      classes: allowed class names; None allows all.
      skip_bad: continues without the files that have a fault.
      decode: decodes every image; False does not decode the pixels.
      exif, fix: see `raw_annotation.check_annotation`.
      map_function: runs the checks, like `parallel.ordered_map`.

    Raises:
      BadFilesError: the faults of all files, unless `skip_bad`; and class names that differ only in
        spelling, if `classes` is None.
      UserError: a folder is missing, or there is no annotation, or every annotation has a fault.
    """
    if not images.is_dir():
        raise UserError(images, "is not a folder", "Give the folder of the images")
    source = formats.find_annotations(annotations)
    if not source.items:
        remedy = "Give annotations with at least one image"
        raise UserError(annotations, "lists no images", remedy)
    image_folder = image_files.list_images(images)

    class_names = None if classes is None else dict.fromkeys(classes)  # not a set, see `beam_map`
    check = partial(_check, source.read, image_folder, class_names, decode, exif, fix)
    good: dict[str, Annotation] = {}
    faults: list[FileFault] = []
    bad_stems = set()
    total = len(source.items)
    for done, result in enumerate(map_function(check, source.items), 1):
        if isinstance(result, _Rejected):
            faults += result.faults
            bad_stems.add(normalize("NFC", result.stem))
        elif result.source_id in good:
            other = good[result.source_id].source
            what = (
                f"lists its image {result.image} twice"
                if other == result.source
                else f"its image {result.image} already belongs to {other}"
            )
            fault = FileFault(result.source, "image shared", what, "Remove one of the two")
            faults.append(fault)
        else:
            good[result.source_id] = result
        progress("check", done, total)
    spellings = [] if classes else checks.spellings(annotations, good.values())
    if spellings or (faults and not skip_bad):
        # Class names are faults of the whole folder, which --skip-bad does not skip.
        raise BadFilesError(annotations, [*faults, *spellings], _remedy(faults, spellings))
    if not good:
        raise UserError(
            annotations,
            f"none of its {total} annotations can be used",
            "Run without --skip-bad to see why",
        )
    unannotated = sum(
        path not in good
        for stem, paths in image_folder.by_stem.items()
        if stem not in bad_stems
        for path in paths
    )
    return CheckedFolder(tuple(good.values()), tuple(faults), unannotated, total)


def _remedy(faults: Sequence[FileFault], spellings: Sequence[FileFault]) -> str:
    remedy = "Fix them"
    fixable = sum(fault.fixable for fault in faults)
    if fixable:
        remedy += " with --fix" if fixable == len(faults) + len(spellings) else ", some with --fix"
    return remedy if spellings else f"{remedy}, or skip them with --skip-bad"


@dataclass(frozen=True)
class _Rejected:
    """The faults of an annotation, and the name of its image without suffix."""

    faults: tuple[FileFault, ...]
    stem: str


def _check(
    read: Callable[..., raw_annotation.RawAnnotation],
    image_folder: image_files.ImageFolder,
    classes: Collection[str] | None,
    decode: bool,
    exif: raw_annotation.Exif | None,
    fix: bool,
    item: object,
) -> Annotation | _Rejected:
    stem = ""
    try:
        raw = read(item)
        stem = PurePosixPath(raw.filename).stem or raw.other_stem
        return raw_annotation.check_annotation(raw, image_folder, classes, decode, exif, fix)
    except BadFilesError as error:
        faults = tuple(fault for fault in error.errors if isinstance(fault, FileFault))
        return _Rejected(faults, stem or Path(error.path).stem)
