"""Statistics of a data set, and its page (`tfod inspect`)."""

from tfod.inspection.statistics import Inspection, inspect

__all__ = ["Inspection", "inspect"]
