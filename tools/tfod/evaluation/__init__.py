"""Evaluation of detections: metrics, matching, error analysis, model comparison, report."""

from tfod.evaluation.metrics import Metrics, evaluate

__all__ = ["Metrics", "evaluate"]
