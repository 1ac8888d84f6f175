"""How often a picture comes in an epoch, so that rare classes are seen too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np


def balanced_epoch(classes: Sequence[Collection[str]]) -> np.ndarray:
    """The numbers of the pictures of an epoch, those with rare classes more than once.

    A picture comes as often as the rarest of its classes asks for: sqrt(f of the most frequent
    class / f of that class), f being the number of pictures that show a class. That is the repeat
    factor of Gupta et al., LVIS (2019), with the most frequent class as the threshold. Parts of a
    time are spread over the pictures in turn, so that the sum is right.

    Args:
      classes: for each picture, the classes it shows.

    Returns:
      int64 `[M]`, M >= len(classes), ascending; each picture at least once.
    """
    pictures = Counter(name for shown in classes for name in set(shown))
    most = max(pictures.values(), default=1)
    times = [max((most / pictures[name] for name in shown), default=1) ** 0.5 for shown in classes]
    ends = np.cumsum(times)
    return np.searchsorted(ends, np.arange(round(ends[-1])) + 0.5).clip(max=len(classes) - 1)
