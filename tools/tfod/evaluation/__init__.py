"""How good detections are: metrics, matching, error analysis, comparison, report."""

from tfod.evaluation.metrics import Metrics, evaluate

__all__ = ["Metrics", "evaluate"]
