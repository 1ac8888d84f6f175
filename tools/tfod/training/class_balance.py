"""Repeats images within an epoch, so that rare classes occur more often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np


def balanced_epoch(classes: Sequence[Collection[str]]) -> np.ndarray:
    """Returns the image indices of one epoch, with images of rare classes repeated.

    The repeat factor of an image is that of its rarest class: sqrt(N of the most frequent class /
    N of the class), where N is the number of images that contain a class. This is the repeat
    factor of Gupta et al., LVIS (2019), with the most frequent class as the threshold. The
    fractional parts of the factors accumulate from image to image, so that the length of the epoch
    is the rounded sum of all factors.

    Args:
      classes: the classes in each image.

    Returns:
      int64 `[M]`, M >= len(classes), ascending. Every image occurs at least once.
    """
    images = Counter(name for names in classes for name in set(names))
    most = max(images.values(), default=1)
    factors = [max((most / images[name] for name in names), default=1) ** 0.5 for names in classes]
    ends = np.cumsum(factors)
    return np.searchsorted(ends, np.arange(round(ends[-1])) + 0.5).clip(max=len(classes) - 1)
