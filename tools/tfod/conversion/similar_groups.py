"""Groups the images of a data set that nearly repeat another, for `--group-by similar`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tfod.annotation import Annotation
from tfod.dataset.manifest import Remark
from tfod.progress import Progress
from tfod.text import percent

SIMILAR = "similar"
SHOWN = 3  # images in a remark
LARGE = 0.5  # of all images: a larger group leaves too little for the other splits


def group_similar(
    annotations: Sequence[Annotation], hashes: Sequence[bytes | None], progress: Progress
) -> Mapping[str, str]:
    """Returns the group of each image by its `source_id`.

    Args:
      hashes: of each image, see `similarity.image_hash`.
      progress: see `similarity.similar_pairs`.
    """
    from tfod.similarity import similar_groups  # loads NumPy

    firsts = (annotations[index].source_id for index in similar_groups(hashes, progress))
    return {a.source_id: first for a, first in zip(annotations, firsts, strict=True)}


def remarks(group_of: Mapping[str, str]) -> list[Remark]:
    """Returns a remark on the groups of `group_similar` with more than one image, if there are."""
    sizes = Counter(group_of.values())
    groups = [(size, first) for first, size in sizes.most_common() if size > 1]
    if not groups:
        return []
    members = defaultdict(list)
    for source_id, first in group_of.items():
        members[first].append(source_id)
    largest, first = groups[0]
    examples = ", ".join(members[first][:SHOWN]) + (", …" if largest > SHOWN else "")
    count = sum(size for size, _ in groups)
    in_groups = "1 group" if len(groups) == 1 else f"{len(groups)} groups of up to {largest}"
    what = (
        f"{count} images are similar to another, in {in_groups} ({examples}); similar images go "
        "into the same split"
    )
    if largest > LARGE * len(group_of):
        what += (
            f". The largest group has {percent(largest, len(group_of))} of all images, as of a "
            "camera that does not move: to divide it, for example by time, give --group-by a "
            "regular expression"
        )
    return [Remark("image similar", count, what)]
