"""Checks of the complete data set: duplicates, and class names that look alike.

Faults stop a conversion, like those of single files. Remarks are reported and counted, and the
conversion continues.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tfod.annotation import Annotation
from tfod.dataset.manifest import Remark
from tfod.errors import FileFault

# Smallest ratio of `difflib.SequenceMatcher` of similar names; "stop" and "stpo" have 0.75.
ALIKE = 0.75
# Typing errors are rare: at most this fraction of the objects with the correct name.
RARE = 0.05
TINY = 4  # pixels; smaller objects have no shape left to learn


def spellings(folder: Path, annotations: Iterable[Annotation]) -> list[FileFault]:
    """Returns one fault per group of class names that differ only in case, spaces, "-" or "_"."""
    counts = Counter(box.name for annotation in annotations for box in annotation.objects)
    groups = defaultdict(list)
    for name in sorted(counts):
        groups[re.sub(r"[\s_-]+", "", name).casefold() or name].append(name)
    faults = []
    for group in groups.values():
        if len(group) > 1:
            names = ", ".join(f"{name!r} ({counts[name]})" for name in group)
            what = f"its classes {names} differ only in spelling"
            remedy = "Use one name, or give a --label-map that contains them all"
            faults.append(FileFault(folder, "class spelled twice", what, remedy))
    return faults


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


def remarks(annotations: Sequence[Annotation]) -> list[Remark]:
    """Returns the remarks on the annotations that will be used."""
    boxes = [box for annotation in annotations for box in annotation.objects]
    result: list[Remark] = []

    def add(kind: str, count: int, one: str, many: str) -> None:
        if count:
            result.append(Remark(kind, count, one if count == 1 else f"{count} {many}"))

    fixes = Counter(fix for annotation in annotations for fix in annotation.fixes)
    add(
        "box clipped",
        fixes["box clipped"],
        "1 box crossed the edge of its image by up to one pixel and was clipped",
        "boxes crossed the edge of their image by up to one pixel and were clipped",
    )
    add(
        "box repeated",
        fixes["box repeated"],
        "1 box repeats another box of its image and was removed",
        "boxes repeat another box of their image and were removed",
    )
    tiny = sum(min(box.xmax - box.xmin, box.ymax - box.ymin) < TINY for box in boxes)
    add(
        "box tiny",
        tiny,
        f"1 box is less than {TINY} pixels wide or high; a detector cannot learn from it",
        f"boxes are less than {TINY} pixels wide or high; a detector cannot learn from them",
    )
    first: dict[bytes, Annotation] = {}
    copies = [
        (annotation.image.name, original.image.name)
        for annotation in annotations
        if (original := first.setdefault(annotation.digest, annotation)) is not annotation
    ]
    if copies:
        pairs = ", ".join(f"{copy} = {original}" for copy, original in copies[:3])
        more = ", …" if len(copies) > 3 else ""
        plural = "s are" if len(copies) > 1 else " is"
        what = (
            f"{len(copies)} image{plural} identical to another: {pairs}{more}; identical images go "
            "into the same split"
        )
        result.append(Remark("image repeated", len(copies), what))
    counts = Counter(box.name for box in boxes)
    for rare, name in typing_errors(counts):
        plural = "s" if counts[rare] > 1 else ""
        what = (
            f"class {rare!r} ({counts[rare]} object{plural}) is similar to {name!r} "
            f"({counts[name]}); if it is a typing error, correct it"
        )
        result.append(Remark("class alike", counts[rare], what))
    return result
