"""Checks of the complete data set: duplicates, and class names that look alike.

Faults stop a conversion, like those of single files. Remarks are reported and counted, and the
conversion continues.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tfod.annotation import Annotation, Repair
from tfod.dataset.manifest import MANIFEST, Remark
from tfod.errors import FileFault
from tfod.text import percent

# Smallest ratio of `difflib.SequenceMatcher` of similar names; "stop" and "stpo" have 0.75.
ALIKE = 0.75
# Typing errors are rare: at most this fraction of the objects with the correct name.
RARE = 0.05
TINY = 4  # pixels; smaller objects have no shape left to learn
SHOWN = 3  # examples in a remark

# `Annotation.fixes` that concern a box: the remark on one, and on many.
BOX_FIXES = {
    "box clipped": (
        "1 box crossed the edge of its image by up to one pixel and was clipped",
        "{} boxes crossed the edge of their image by up to one pixel and were clipped",
    ),
    "box cut": (
        "1 box extends beyond its image and was cut at the edge",
        "{} boxes extend beyond their image and were cut at the edge",
    ),
    "box ignored": (
        "1 box is marked as not to be considered, and was left out",
        "{} boxes are marked as not to be considered, and were left out",
    ),
    "box repeated": (
        "1 box repeats another box of its image and was removed",
        "{} boxes repeat another box of their image and were removed",
    ),
}
# `Repair.kind`: the remark on one repair, and on many.
REPAIRS = {
    "box dropped": (
        "1 box without area or outside its image was dropped",
        "{} boxes without area or outside their image were dropped",
    ),
    "box outside": (
        "1 box extended outside its image and was clipped",
        "{} boxes extended outside their image and were clipped",
    ),
    "corners swapped": (
        "1 box had swapped corners, which were swapped back",
        "{} boxes had swapped corners, which were swapped back",
    ),
    "image re-encoded": (
        "1 image lacks its end and was re-encoded",
        "{} images lack their end and were re-encoded",
    ),
}
# `Annotation.fixes` that concern a table.
COLUMN_FIXES = {
    "columns in another order": (
        "the columns xmin, xmax, ymin, ymax contain xmin, ymin, xmax, ymax, as in Udacity's own "
        "file, and were read so"
    ),
    "columns unclear": (
        "the columns xmin, xmax, ymin, ymax could also contain xmin, ymin, xmax, ymax, as in "
        "Udacity's own file; check the boxes with tfod inspect"
    ),
}


def spellings(folder: Path, annotations: Iterable[Annotation]) -> list[FileFault]:
    """Returns one fault per group of class names that differ only in case, spaces, "-" or "_".

    Names with these between digits are different: `1-5` and `15`. So are names with a `-` at the
    beginning or end: `A-` and `A`.
    """
    counts = Counter(box.name for annotation in annotations for box in annotation.objects)
    groups = defaultdict(list)
    for name in sorted(counts):
        groups[_without_separators(name).casefold() or name].append(name)
    faults = []
    for group in groups.values():
        if len(group) > 1:
            names = ", ".join(f"{name!r} ({counts[name]})" for name in group)
            what = f"its classes {names} differ only in spelling"
            remedy = "Use one name, or give a --label-map that contains them all"
            faults.append(FileFault(folder, "class spelled twice", what, remedy))
    return faults


def _without_separators(name: str) -> str:
    joined = re.sub(r"(?<!\d)[\s_]+|[\s_]+(?!\d)", "", name)
    return re.sub(r"(?<=[^\d-])-+(?=[^-])|(?<=[^-])-+(?=[^\d-])", "", joined)


def typing_errors(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Returns pairs of a rare class name and the frequent name that was probably intended.

    Names that differ in a digit are not reported: `limit30` and `limit50` are two classes.
    """
    pairs = []
    for rare, count in counts.items():
        frequent = [name for name in counts if count <= RARE * counts[name] and name != rare]
        for name in difflib.get_close_matches(rare, frequent, n=1, cutoff=ALIKE):
            if re.findall(r"\d", rare) == re.findall(r"\d", name):
                pairs.append((rare, name))
    return pairs


def remarks(
    annotations: Sequence[Annotation],
    parts: Mapping[str, Sequence[Annotation]],
    unannotated: int = 0,
) -> list[Remark]:
    """Returns the remarks on a data set.

    Args:
      annotations: all annotations, in the order in which they are named.
      parts: the annotations that are used, by split.
      unannotated: number of images without annotation.
    """
    used = _used(annotations, parts)
    unlisted = len(annotations) - len(used)
    return [
        *_on_unused_images(unannotated, unlisted),
        *_on_doubts(used),
        *_on_repairs(used),
        *_on_boxes(used),
        *_on_equal_images(used),
        *_on_classes(parts),
    ]


def repairs(
    annotations: Sequence[Annotation], parts: Mapping[str, Sequence[Annotation]]
) -> list[Repair]:
    """Returns the repairs of the annotations that are used; the arguments are as in `remarks`."""
    return [repair for annotation in _used(annotations, parts) for repair in annotation.repairs]


def on_skipped(
    faults: Sequence[FileFault], skipped: int, total: int, what: str = "annotations"
) -> Iterator[Remark]:
    """Yields a remark if annotations or records were left out.

    Args:
      faults: of those that were left out, at least one each.
      skipped, total: numbers.
      what: "annotations" or "records".
    """
    if not skipped:
        return
    kinds = Counter(fault.kind for fault in faults)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    text = (
        f"{skipped} of {total} {what} ({percent(skipped, total)}) were skipped: {counts}; "
        f"{MANIFEST} lists them"
    )
    fixable = sum(fault.fixable for fault in faults)
    if fixable:
        text += f"; --fix repairs {'them' if fixable == len(faults) else 'some of them'}"
    yield Remark("skipped", skipped, text)


def _used(
    annotations: Sequence[Annotation], parts: Mapping[str, Sequence[Annotation]]
) -> Sequence[Annotation]:
    if len(annotations) == sum(map(len, parts.values())):
        return annotations
    ids = {annotation.source_id for part in parts.values() for annotation in part}
    return [annotation for annotation in annotations if annotation.source_id in ids]


def _on_unused_images(unannotated: int, unlisted: int) -> Iterator[Remark]:
    if unannotated:
        images = "1 image has" if unannotated == 1 else f"{unannotated} images have"
        what = (
            f"{images} no annotation and will not be used; to use an image without objects, give "
            "it an annotation without boxes"
        )
        yield Remark("image unannotated", unannotated, what)
    if unlisted:
        images = "1 image is" if unlisted == 1 else f"{unlisted} images are"
        what = f"{images} in none of the lists of --split-by and will not be used"
        yield Remark("image unlisted", unlisted, what)


def _on_doubts(annotations: Sequence[Annotation]) -> Iterator[Remark]:
    """Yields what the annotations leave open."""
    annotations = [annotation for annotation in annotations if annotation.fixes]
    differing = [a for a in annotations if "name differs" in a.fixes]
    if differing:
        pairs = _examples([f"{a.source.name} has {a.image.name}" for a in differing])
        files = "1 XML file does" if len(differing) == 1 else f"{len(differing)} XML files do"
        what = (
            f"{files} not have the name in <filename>, and there are images with both names: "
            f"{pairs}; the one in <filename> is used"
        )
        yield Remark("name differs", len(differing), what)
    unclear = [a.image.name for a in annotations if "orientation unclear" in a.fixes]
    if unclear:
        images = "1 image has" if len(unclear) == 1 else f"{len(unclear)} images have"
        what = (
            f"{images} an EXIF orientation, and the annotated size does not show whether boxes "
            f"were drawn on the rotated image: {_examples(unclear)}; they are used as if they "
            "were. If the boxes are in wrong places, convert with --exif ignore"
        )
        yield Remark("orientation unclear", len(unclear), what)
    for kind, text in COLUMN_FIXES.items():
        sources = [a.source.name for a in annotations if kind in a.fixes]
        if sources:
            yield Remark(kind, len(sources), f"{_examples(list(dict.fromkeys(sources)))}: {text}")


def _on_repairs(annotations: Sequence[Annotation]) -> Iterator[Remark]:
    counts = Counter(repair.kind for annotation in annotations for repair in annotation.repairs)
    for kind, (one, many) in REPAIRS.items():
        if counts[kind]:
            what = f"{one}; {MANIFEST} lists it"
            if counts[kind] > 1:
                what = f"{many.format(counts[kind])}; {MANIFEST} lists them"
            yield Remark(kind, counts[kind], what)


def _on_boxes(annotations: Sequence[Annotation]) -> Iterator[Remark]:
    fixes = Counter(fix for annotation in annotations for fix in annotation.fixes)
    for kind, (one, many) in BOX_FIXES.items():
        if fixes[kind]:
            what = one if fixes[kind] == 1 else many.format(fixes[kind])
            yield Remark(kind, fixes[kind], what)
    boxes = (box for annotation in annotations for box in annotation.objects)
    tiny = sum(min(box.xmax - box.xmin, box.ymax - box.ymin) < TINY for box in boxes)
    if tiny:
        what = f"{tiny} boxes are less than {TINY} pixels wide or high; a detector cannot learn "
        what += "from them"
        if tiny == 1:
            what = f"1 box is less than {TINY} pixels wide or high; a detector cannot learn from it"
        yield Remark("box tiny", tiny, what)


def _on_equal_images(annotations: Sequence[Annotation]) -> Iterator[Remark]:
    first: dict[bytes, Annotation] = {}
    copies = [
        f"{annotation.image.name} = {original.image.name}"
        for annotation in annotations
        if (original := first.setdefault(annotation.digest, annotation)) is not annotation
    ]
    if copies:
        plural = "s are" if len(copies) > 1 else " is"
        what = (
            f"{len(copies)} image{plural} identical to another: {_examples(copies)}; identical "
            "images go into the same split"
        )
        yield Remark("image repeated", len(copies), what)


def _on_classes(parts: Mapping[str, Sequence[Annotation]]) -> Iterator[Remark]:
    by_split = {
        split: Counter(box.name for annotation in part for box in annotation.objects)
        for split, part in parts.items()
    }
    counts = dict(sorted(sum(by_split.values(), Counter()).items()))
    for split, part in parts.items():
        missing = [name for name in counts if part and name not in by_split[split]]
        if not missing:
            continue
        several = len(missing) > 1
        classes = f"{len(missing)} classes have" if several else "1 class has"
        if split == "train":
            them = "them" if several else "it"
            so, remedy = f"a detector cannot learn {them}", f"add images of {them}"
        else:
            so = f"{'they do' if several else 'it does'} not count in its AP"
            remedy = f"add images, or give {split} a larger share with --split"
        examples = _examples([repr(name) for name in missing])
        what = f"{classes} no object in {split}, so {so}: {examples}; {remedy}"
        yield Remark(f"class not in {split}", len(missing), what)
    for rare, name in typing_errors(counts):
        plural = "s" if counts[rare] > 1 else ""
        what = (
            f"class {rare!r} ({counts[rare]} object{plural}) is similar to {name!r} "
            f"({counts[name]}); if it is a typing error, correct it"
        )
        yield Remark("class alike", counts[rare], what)


def _examples(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
