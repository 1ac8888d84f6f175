"""Chooses the images to label next: those on which a detector is in doubt, and which differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tfod.detection.chances import chances, score_of
from tfod.detection.detections import Detections
from tfod.detection.detector import Detector
from tfod.images import load_rgb
from tfod.labeling.folder import LabelFolder
from tfod.model.detection_file import DEFAULT_THRESHOLD
from tfod.parallel import threaded_map
from tfod.progress import Progress, silent, tracked
from tfod.similarity import BITS, MAX_DISTANCE, hash_of

LEAST_CHANCE = 0.03  # of a detection that is considered
# Bits in which unrelated images differ at least, see `similarity.MAX_DISTANCE`.
UNRELATED = 90
SHOWN_DOUBT = 0.05  # bits
LEAST_DOUBT = 1e-3  # bits: orders images without doubt by how new they are


@dataclass(frozen=True)
class Chosen:
    """An image to label.

    Attributes:
      number: of the image in its folder.
      detections: the objects that may be there, the highest score first.
      doubt: bits of all detections by class name, the largest first.
    """

    number: int
    detections: Detections
    doubt: Mapping[str, float]


@dataclass(frozen=True)
class _Seen:
    """What is known of an image: detections above the lowest score, and the perceptual hash."""

    detections: Detections
    hash: bytes | None


def choose_images(
    folder: LabelFolder, detector: Detector, count: int, progress: Progress = silent
) -> list[Chosen]:
    """Chooses images that are not labeled yet, the most useful first.

    The doubt about a detection is the entropy of its score, in bits: 1 at the threshold of the
    detector, 0 for a sure object and for background. The image that is chosen next has the most
    doubt, but the doubt about a class counts less the more labels and chosen images this class
    has, and that about an image that resembles a labeled or chosen one, such as the next frame of
    a video, counts little or nothing.

    Sources: entropy of all detections of an image, Brust et al., "Active learning for deep object
    detection", VISAPP 2019; sums of concave functions for diversity, Wei et al., "Submodularity in
    data subset selection and active learning", ICML 2015.

    Args:
      folder: images, some of them labeled.
      count: the largest number of images to choose.
      progress: called as `progress("detect", done, total)` and `progress("compare", ...)`.

    Raises:
      UserError: an image cannot be read.
    """
    states = [folder.state(number) for number in range(len(folder))]
    new = [number for number, state in enumerate(states) if not state.labeled]
    labeled = [number for number, state in enumerate(states) if state.labeled]
    threshold = detector.threshold or DEFAULT_THRESHOLD
    lowest = score_of(LEAST_CHANCE, threshold)
    fast = detector.for_threads()

    def look(number: int) -> _Seen:
        pixels = load_rgb(folder.images[number])
        found = fast.predict(pixels).above(lowest)
        return _Seen(found, hash_of(Image.fromarray(pixels)))

    def hash_labeled(number: int) -> bytes | None:
        return hash_of(Image.fromarray(load_rgb(folder.images[number])))

    seen = list(tracked(threaded_map(look, new), progress, "detect", len(new)))
    hashes = threaded_map(hash_labeled, labeled)
    known = list(tracked(hashes, progress, "compare", len(labeled)))
    doubts = [doubt_by_class(item.detections, threshold) for item in seen]
    labels = Counter(name for number in labeled for name in states[number].classes)
    order = _most_useful([item.hash for item in seen], doubts, known, labels, count)
    return [
        Chosen(
            new[index],
            seen[index].detections,
            dict(sorted(doubts[index].items(), key=lambda item: -item[1])),
        )
        for index in order
    ]


def doubt_by_class(detections: Detections, threshold: float) -> dict[str, float]:
    """Returns the entropies of the detections of an image in bits, summed by class name."""
    chance = chances(detections.scores, threshold)
    bits = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
    doubts: dict[str, float] = {}
    for name, value in zip(detections.names, bits.tolist(), strict=True):
        doubts[name] = doubts.get(name, 0.0) + value
    return doubts


def _most_useful(
    hashes: Sequence[bytes | None],
    doubts: Sequence[Mapping[str, float]],
    labeled: Sequence[bytes | None],
    labels: Mapping[str, int],
    count: int,
) -> list[int]:
    """Returns indices of images, the most useful first.

    Args:
      hashes, doubts: of the images to choose from.
      labeled: hashes of labeled images.
      labels: number of labeled objects by class name.
    """
    names = sorted({name for doubt in doubts for name in doubt})
    doubt = np.array([[item.get(name, 0.0) for name in names] for item in doubts])
    doubt = doubt.reshape(len(doubts), len(names))
    covered = np.array([labels.get(name, 0) for name in names], float)
    signs = np.stack([_signs(value) for value in hashes]) if hashes else np.zeros((0, BITS))
    novelty = np.ones(len(hashes))
    for value in labeled:
        novelty = np.minimum(novelty, _novelty(signs, value))
    order: list[int] = []
    for _ in range(min(count, len(hashes))):
        gain = (np.sqrt(covered + doubt) - np.sqrt(covered)).sum(axis=1)
        gain = novelty * (gain + LEAST_DOUBT)
        gain[order] = -1
        best = int(gain.argmax())
        if gain[best] <= 0:  # the others are nearly the same as labeled or chosen images
            break
        order.append(best)
        covered += doubt[best]
        novelty = np.minimum(novelty, _novelty(signs, hashes[best]))
    return order


def _signs(value: bytes | None) -> np.ndarray:
    """Returns +1 or -1 for each bit of a hash; zeros for an image without details."""
    if value is None:
        return np.zeros(BITS, np.float32)
    return 2 * np.unpackbits(np.frombuffer(value, np.uint8)).astype(np.float32) - 1


def _novelty(signs: np.ndarray, other: bytes | None) -> np.ndarray:
    """Returns 0 for images that are similar to another, and up to 1 for unrelated ones."""
    if other is None:
        return np.ones(len(signs))
    distance = (BITS - signs @ _signs(other)) / 2
    return np.clip((distance - MAX_DISTANCE) / (UNRELATED - MAX_DISTANCE), 0, 1)


def reason(chosen: Chosen) -> str:
    """Returns the doubt by class, such as "stop 1.3, dog 0.4"; without doubt, a few words."""
    classes = [f"{name} {bits:.1f}" for name, bits in chosen.doubt.items() if bits >= SHOWN_DOUBT]
    return ", ".join(classes) or "unlike the others"
