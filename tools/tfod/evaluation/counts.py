"""How many objects are identified, missed and falsely detected at a score threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.evaluation.matching import Matching

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Count:
    """What a detector gets right and wrong at one threshold, by IoU >= 0.5.

    Attributes:
      threshold: detections with at least this score are taken.
      objects: in the ground truth, crowds left out.
      identified: objects found, each once, with the right class.
      false: detections that are no object, the wrong one, or one found before.
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
        """The part of the detections that is right; None without any."""
        found = self.identified + self.false
        return self.identified / found if found else None

    @property
    def recall(self) -> float | None:
        """The part of the objects that is identified; None without any."""
        return self.identified / self.objects if self.objects else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where there is neither."""
        total = self.objects + self.identified + self.false
        return 2 * self.identified / total if total else None


def count(matching: Matching, threshold: float, name: str | None = None) -> Count:
    """Counts at a threshold, of one class or of all."""
    objects, detections = _of(matching, name)
    taken = detections[detections["score"] >= threshold]
    identified = int((taken["object"] >= 0).sum())
    return Count(threshold, len(objects), identified, len(taken) - identified)


def curve(matching: Matching, name: str | None = None) -> pd.DataFrame:
    """Precision, recall and F1 over all thresholds, of one class or of all.

    Returns:
      A row for each score there is, falling: `threshold`, `identified`, `false`, `precision`,
      `recall`, `f1`. Empty where nothing was found. Recall and F1 are NaN without objects.
    """
    import pandas as pd

    objects, detections = _of(matching, name)
    ordered = detections.sort_values("score", ascending=False, kind="stable")
    identified = (ordered["object"] >= 0).cumsum().to_numpy()
    found = np.arange(1, len(ordered) + 1)
    table = pd.DataFrame(
        {
            "threshold": ordered["score"].to_numpy(),
            "identified": identified,
            "false": found - identified,
            "precision": identified / found,
            "recall": identified / (len(objects) or np.nan),
            "f1": 2 * identified / (len(objects) + found) if len(objects) else np.nan,
        }
    )
    return table.groupby("threshold", sort=False).tail(1).reset_index(drop=True)


def best_count(matching: Matching, name: str | None = None) -> Count | None:
    """The count with the best F1; None where there is nothing to identify or nothing is.

    Its threshold lies between the last score that is taken and the next that is not, so that
    neither rounding nor another runtime moves a detection over it.
    """
    table = curve(matching, name)
    if table.empty or not table["identified"].any():
        return None
    best = int(table["f1"].argmax())
    last = float(table["threshold"][best])
    following = float(table["threshold"][best + 1]) if best + 1 < len(table) else 0.0
    return count(matching, (last + following) / 2, name)


def _of(matching: Matching, name: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Objects and detections that count."""
    objects = matching.objects[~matching.objects["crowd"].astype(bool)]
    detections = matching.detections[~matching.detections["ignored"]]
    if name is None:
        return objects, detections
    return objects[objects["name"] == name], detections[detections["name"] == name]
