"""Finds images that nearly repeat another: copies with other quality or size, frames of a video.

Each image gets a perceptual hash of 256 bits, and two images are similar if few bits differ.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tfod.images import to_rgb
from tfod.progress import Progress, silent

EDGE, FREQUENCIES = 64, 16  # pixels and lowest frequencies of a hash, in each direction
BITS = FREQUENCIES**2
# Of these bits. Measured with public images of road signs and of blood cells: other quality, noise,
# brightness, half the size, and a border of 1 % cut off change up to 46 bits, a camera that moves
# by 1 % of the image width up to 42, by 2 % mostly 58 or less. Of 42,000 pairs of different images
# of blood cells, none differs in less than 90 bits, and 0.01 % do in less than 94.
MAX_DISTANCE = 56
# In gray levels. If most frequencies are weaker, as in an image of one color, signs are noise.
LEAST_DETAIL = 1.0
TILE = 2048  # hashes that are compared with as many others at once
EXACT = 20_000  # hashes; more are compared only where some of their bits are equal
MISSED = 0.05  # share of the pairs with `MAX_DISTANCE` that this may miss
NEIGHBORS = 16  # with equal bits, that a hash is compared with at most


class Pairs(NamedTuple):
    """Pairs of similar images.

    Attributes:
      first, second: int64 `[N]`, their indices; the first is smaller.
      distance: int64 `[N]`, the number of bits that differ.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray


def image_hash(data: bytes) -> bytes | None:
    """Returns the perceptual hash of an image, 32 bytes.

    Source: pHash, the signs of the lowest frequencies of a discrete cosine transform. The bits are
    those of `imagehash.phash(image, hash_size=16)`, https://github.com/JohannesBuchner/imagehash.

    Args:
      data: a JPEG or PNG file, as in training records.

    Returns:
      None if the image has too little detail to tell it from others, or cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            image.draft(None, (2 * EDGE, 2 * EDGE))  # libjpeg decodes at a smaller size
            return hash_of(to_rgb(image))
    except Exception:  # Pillow raises many kinds; conversion and inspection report such files
        return None


def hash_of(image: Image.Image) -> bytes | None:
    """Returns the perceptual hash of a decoded image, see `image_hash`.

    Returns:
      None if the image has too little detail to tell it from others.
    """
    gray = image.convert("L").resize((EDGE, EDGE), Image.Resampling.LANCZOS)
    cosines = scipy.fft.dctn(np.asarray(gray, np.float64)) / (2 * EDGE)  # as gray levels
    strength = cosines[:FREQUENCIES, :FREQUENCIES]
    if np.median(np.abs(strength)) < LEAST_DETAIL:
        return None
    return np.packbits(strength > np.median(strength)).tobytes()


def similar_pairs(hashes: Sequence[bytes | None], progress: Progress = silent) -> Iterator[Pairs]:
    """Yields the similar pairs in parts, of which only one is in memory at once.

    Up to `EXACT` hashes are all compared with one another, and each pair is yielded once. That
    takes up to 5 seconds of CPU time, and would take hours for a million. More are compared in
    tables (`_pairs_in_tables`): a pair may then be yielded several times, and is missed with a
    chance of `MISSED` if its distance is `MAX_DISTANCE`, of less than 0.002 if it is 46, the most
    that was measured for changed copies of an image.

    Args:
      hashes: of `image_hash`; None is similar to nothing.
      progress: called as `progress("find similar", done, total)` if there are more than `EXACT`.
    """
    indices = np.array([index for index, value in enumerate(hashes) if value], np.int64)
    packed = np.frombuffer(b"".join(filter(None, hashes)), np.uint8).reshape(-1, BITS // 8)
    found = _all_pairs(packed) if len(packed) <= EXACT else _pairs_in_tables(packed, progress)
    for pairs in found:
        yield Pairs(indices[pairs.first], indices[pairs.second], pairs.distance)


def _all_pairs(packed: np.ndarray) -> Iterator[Pairs]:
    """Compares all hashes, uint8 `[N, 32]`. Yields up to `TILE` * `TILE` pairs at once."""

    def signs(start: int) -> np.ndarray:
        """Returns +1 or -1 for each bit: their products count equal minus different bits."""
        return 2 * np.unpackbits(packed[start : start + TILE], axis=1).astype(np.float32) - 1

    for top in range(0, len(packed), TILE):
        rows = signs(top)
        for left in range(top, len(packed), TILE):
            agreement = rows @ signs(left).T
            row, column = np.nonzero(agreement >= BITS - 2 * MAX_DISTANCE)
            if left == top:
                row, column = row[row < column], column[row < column]
            if len(row):
                distance = (BITS - agreement[row, column].astype(np.int64)) // 2
                yield Pairs(top + row, left + column, distance)


def _pairs_in_tables(packed: np.ndarray, progress: Progress) -> Iterator[Pairs]:
    """Compares hashes, uint8 `[N, 32]`, that have the same bits at some random positions.

    With log2(N) positions, a hash shares its bits with about one other by chance, so the time for
    one choice of positions grows as sorting does. There are as many choices as `MISSED` needs.

    Source: Indyk and Motwani, "Approximate Nearest Neighbors: Towards Removing the Curse of
    Dimensionality", 1998.
    """
    count = len(packed)
    columns = np.ascontiguousarray(packed.T)
    ones = np.array([value.bit_count() for value in range(256)], np.uint8)
    used = min(math.ceil(math.log2(count)), 32)
    # All positions of a choice are among the bits in which two hashes agree.
    chance = math.comb(BITS - MAX_DISTANCE, used) / math.comb(BITS, used)
    rng = np.random.default_rng(0)  # the same images always give the same pairs
    choices = math.ceil(math.log(MISSED) / math.log1p(-chance))
    for choice in range(choices):
        progress("find similar", count * choice // choices, count)  # the unit of a bar is images
        keys = np.zeros(count, np.uint32)
        for bit in rng.choice(BITS, used, replace=False).tolist():
            keys = keys << 1 | columns[bit // 8] >> (7 - bit % 8) & 1
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for shift in range(1, NEIGHBORS + 1):
            (places,) = np.nonzero(keys[shift:] == keys[:-shift])
            if not len(places):
                break
            first, second = order[places], order[places + shift]
            distance = ones[packed[first] ^ packed[second]].sum(axis=1, dtype=np.int64)
            similar = distance <= MAX_DISTANCE
            if similar.any():
                yield Pairs(first[similar], second[similar], distance[similar])
    progress("find similar", count, count)


def similar_groups(hashes: Sequence[bytes | None], progress: Progress = silent) -> list[int]:
    """Groups similar images, and those that are connected by a chain of similar images.

    The frames of a video are one group, although its first and last frames differ.

    Args:
      hashes, progress: see `similar_pairs`.

    Returns:
      The group of each image: the index of its first image. An image that is similar to no other is
      a group of its own.
    """
    count = len(hashes)
    group = np.arange(count)
    for pairs in similar_pairs(hashes, progress):
        links = group[pairs.first], group[pairs.second]
        graph = coo_array((np.ones(len(pairs.first), bool), links), shape=(count, count))
        group = connected_components(graph, directed=False)[1][group]
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return first[inverse].tolist()
