"""Converts scores of detections to the chance that they are right."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

# How fast the chance grows with the score, both as log-odds. Measured with three detectors of road
# signs and of synthetic objects: 2.3 to 4.3.
SLOPE = 2.5


def chances(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the chance that each detection is right: one half at the threshold.

    The threshold with the best F1 is about the score at which this is so.

    Args:
      scores: `[N]` in [0, 1].
      threshold: of the detector.

    Returns:
      float64 `[N]` in (0, 1).
    """
    return expit(SLOPE * (_log_odds(scores) - _log_odds(threshold)))


def score_of(chance: float, threshold: float) -> float:
    """Returns the score of detections that are right with this chance."""
    return float(expit(_log_odds(threshold) + logit(chance) / SLOPE))


def _log_odds(score: np.ndarray | float) -> np.ndarray:
    return logit(np.clip(np.asarray(score, float), 1e-4, 1 - 1e-4))
