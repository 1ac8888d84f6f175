"""Checks that need the whole data set: what repeats, and what looks alike.

Faults stop a conversion, as those of single files do; remarks are said and counted, and it goes on.
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

# Two names are alike from this ratio of `difflib.SequenceMatcher` on; "stop" and "stpo" have 0.75.
ALIKE = 0.75
# Of a typing error there are few: at most this share of the objects of the right name.
RARE = 0.05
TINY = 4  # pixels: less than this across or down, and an object has no shape left to learn


def spellings(folder: Path, annotations: Iterable[Annotation]) -> list[FileFault]:
    """Class names that differ in case, spaces, hyphens or underscores only: one fault a group."""
    counts = Counter(box.name for annotation in annotations for box in annotation.objects)
    groups = defaultdict(list)
    for name in sorted(counts):
        groups[re.sub(r"[\W_]+", "", name).casefold() or name].append(name)
    faults = []
    for group in groups.values():
        if len(group) > 1:
            names = ", ".join(f"{name!r} ({counts[name]})" for name in group)
            what = f"its classes {names} differ in spelling only"
            remedy = "Give them one name, or give a --label-map that has them all"
            faults.append(FileFault(folder, "class spelled twice", what, remedy))
    return faults


def typing_errors(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of a rare class name and a frequent one that it is probably meant to be.

    Names that differ in a digit are left alone: `limit30` and `limit50` are two classes.
    """
    pairs = []
    for rare, count in counts.items():
        frequent = [name for name in counts if count <= RARE * counts[name] and name != rare]
        for name in difflib.get_close_matches(rare, frequent, n=1, cutoff=ALIKE):
            if re.findall(r"\d", rare) == re.findall(r"\d", name):
                pairs.append((rare, name))
    return pairs


def remarks(annotations: Sequence[Annotation]) -> list[Remark]:
    """What should be said of the annotations that will be used."""
    boxes = [box for annotation in annotations for box in annotation.objects]
    said = []

    def say(kind: str, count: int, one: str, many: str) -> None:
        if count:
            said.append(Remark(kind, count, one if count == 1 else f"{count} {many}"))

    mended = Counter(note for annotation in annotations for note in annotation.mended)
    say(
        "box clipped",
        mended["box clipped"],
        "1 box reached over the edge of its picture by up to a pixel and was clipped",
        "boxes reached over the edge of their picture by up to a pixel and were clipped",
    )
    say(
        "box repeated",
        mended["box repeated"],
        "1 box was there twice in its picture and is used once",
        "boxes were there before in the same picture and are used once",
    )
    tiny = sum(min(box.xmax - box.xmin, box.ymax - box.ymin) < TINY for box in boxes)
    say(
        "box tiny",
        tiny,
        f"1 box is less than {TINY} pixels across or down; nothing can be learned from it",
        f"boxes are less than {TINY} pixels across or down; nothing can be learned from them",
    )
    first: dict[bytes, Annotation] = {}
    copies = [
        (annotation.image.name, original.image.name)
        for annotation in annotations
        if (original := first.setdefault(annotation.digest, annotation)) is not annotation
    ]
    if copies:
        pairs = ", ".join(f"{copy} of {original}" for copy, original in copies[:3])
        more = ", …" if len(copies) > 3 else ""
        what = f"pictures that are there more than once: {pairs}{more}; they share a split"
        said.append(Remark("picture repeated", len(copies), what))
    counts = Counter(box.name for box in boxes)
    for rare, name in typing_errors(counts):
        what = (
            f"class {rare!r} ({counts[rare]} of it) looks like {name!r} ({counts[name]}); "
            "if it is a typing error, correct it"
        )
        said.append(Remark("class alike", counts[rare], what))
    return said
