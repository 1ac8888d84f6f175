"""Counts identified, missed and falsely detected objects at a score threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.evaluation.matching import Matching

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Count:
    """Correct and false detections at one score threshold, at IoU >= 0.5.

    Attributes:
      threshold: detections with at least this score count.
      objects: objects in the ground truth, without crowds.
      identified: objects that a detection of the right class matches.
      false: detections that match no object: background, the wrong class, or a duplicate.
    """

    threshold: float
    objects: int
    identified: int
    false: int

    @property
    def missed(self) -> int:
        return self.objects - self.identified

    @property
    def precision(self) -> float | None:
        """The fraction of detections that are correct; None without detections."""
        detections = self.identified + self.false
        return self.identified / detections if detections else None

    @property
    def recall(self) -> float | None:
        """The fraction of objects that are identified; None without objects."""
        return self.identified / self.objects if self.objects else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without objects and detections."""
        total = self.objects + self.identified + self.false
        return 2 * self.identified / total if total else None


def count(matching: Matching, threshold: float, name: str | None = None) -> Count:
    """Counts at a threshold, for one class or for all."""
    objects, scores, is_correct = _select(matching, name)
    above = is_correct[scores >= threshold]
    identified = int(above.sum())
    return Count(threshold, objects, identified, len(above) - identified)


def curve(matching: Matching, name: str | None = None) -> pd.DataFrame:
    """Computes precision, recall and F1 over all thresholds, for one class or for all.

    Returns:
      One row per distinct score, in descending order: `threshold`, `identified`, `false`,
      `precision`, `recall`, `f1`. Empty without detections. Recall and F1 are NaN without objects.
    """
    import pandas as pd

    objects, scores, is_correct = _select(matching, name)
    order = np.argsort(-scores, kind="stable")
    scores, identified = scores[order], np.cumsum(is_correct[order])
    (last,) = np.nonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
    identified, total = identified[last], last + 1
    return pd.DataFrame(
        {
            "threshold": scores[last],
            "identified": identified,
            "false": total - identified,
            "precision": identified / total,
            "recall": identified / (objects or np.nan),
            "f1": 2 * identified / (objects + total) if objects else np.nan,
        }
    )


def best_count(matching: Matching, name: str | None = None) -> Count | None:
    """Returns the count with the best F1; None if no object is identified at any threshold.

    The threshold is halfway between the lowest score that counts and the next lower score. Rounding
    or another runtime then does not move a detection across it.
    """
    table = curve(matching, name)
    if table.empty or not table["identified"].any():
        return None
    best = int(table["f1"].argmax())
    lowest = float(table["threshold"][best])
    next_lower = float(table["threshold"][best + 1]) if best + 1 < len(table) else 0.0
    return count(matching, (lowest + next_lower) / 2, name)


def _select(matching: Matching, name: str | None) -> tuple[int, np.ndarray, np.ndarray]:
    """Selects one class or all, without crowds.

    Returns:
      The number of objects; the scores of the detections; and whether each matches an object.
    """
    objects, detections = matching.objects, matching.detections
    counts = ~objects["crowd"].to_numpy(bool)
    selected = ~detections["ignored"].to_numpy(bool)
    if name is not None:
        counts &= (objects["name"] == name).to_numpy()
        selected &= (detections["name"] == name).to_numpy()
    scores, matched = (detections[column].to_numpy() for column in ("score", "object"))
    return int(counts.sum()), scores[selected], matched[selected] >= 0
