"""Finds images of one split that nearly repeat an image of another, see `tfod.similarity`.

A detector is then evaluated on images that it was trained on, and its AP is too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfod.dataset.tf_example import Example
from tfod.dataset.tfrecord import read_record, record_places
from tfod.images import load_rgb
from tfod.inspection.statistics import RecordFiles
from tfod.parallel import threaded_map
from tfod.progress import Progress, silent, tracked
from tfod.similarity import image_hash, similar_pairs

SHOWN = 24  # pairs
THUMBNAIL = 400

Place = tuple[str, Path, int, int]  # of a record: split, file, offset and length in bytes


@dataclass(frozen=True)
class SimilarImage:
    """One image of a pair.

    Attributes:
      split: the name of its split.
      source_id: its path relative to the image folder.
      pixels: uint8 `[H, W, 3]` RGB, reduced to at most `THUMBNAIL` pixels in each direction.
    """

    split: str
    source_id: str
    pixels: np.ndarray


@dataclass(frozen=True)
class SimilarImages:
    """Similar images in different splits.

    Attributes:
      images: number of images that are similar to one in another split, by split.
      shown: the most similar pairs, the most similar first.
    """

    images: dict[str, int]
    shown: tuple[tuple[SimilarImage, SimilarImage], ...]


def across_splits(records: RecordFiles, progress: Progress = silent) -> SimilarImages:
    """Compares the images of all splits.

    Args:
      progress: called as `progress("compare", done, total)`, and by `similarity.similar_pairs`.

    Raises:
      UserError: a file is damaged.
    """
    places = [
        (split, path, offset, length)
        for split, paths in records.splits.items()
        for path in paths
        for offset, length in record_places(path)
    ]
    hashes = list(tracked(threaded_map(_hash, places), progress, "compare", len(places)))
    splits = np.array([split for split, *_ in places])
    in_pair = np.zeros(len(places), bool)
    closest = np.empty((0, 3), np.int64)  # distance and the indices of both images
    for pairs in similar_pairs(hashes, progress):
        across = splits[pairs.first] != splits[pairs.second]
        found = np.stack((pairs.distance, pairs.first, pairs.second), axis=1)[across]
        in_pair[found[:, 1:]] = True
        closest = np.unique(np.concatenate((closest, found)), axis=0)[:SHOWN]
    return SimilarImages(
        {split: int(in_pair[splits == split].sum()) for split in records.splits},
        tuple((_load(places[one]), _load(places[other])) for _, one, other in closest.tolist()),
    )


def warnings(similar: SimilarImages) -> list[str]:
    """Returns a sentence on the images with the remedy, or nothing if there are none."""
    if not similar.shown:
        return []
    counts = ", ".join(f"{count} of {split}" for split, count in similar.images.items() if count)
    return [
        f"similar images are in different splits ({counts}), so the measured AP will be too high; "
        "convert again with --group-by similar"
    ]


def _hash(place: Place) -> bytes | None:
    return image_hash(_value(_features(place), "encoded"))


def _load(place: Place) -> SimilarImage:
    features = _features(place)
    source_id = _value(features, "source_id") or _value(features, "filename")
    image = Image.fromarray(load_rgb(_value(features, "encoded"), rotate=False))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return SimilarImage(place[0], source_id.decode(errors="replace"), np.asarray(image))


def _features(place: Place) -> Mapping[str, Any]:
    _, path, offset, length = place
    return Example.FromString(read_record(path, offset, length)).features.feature


def _value(features: Mapping[str, Any], key: str) -> bytes:
    return b"".join(features[f"image/{key}"].bytes_list.value)
