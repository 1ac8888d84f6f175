"""Statistics of a data set, and the HTML page of `tfod inspect`."""

from tfod.inspection.statistics import Inspection, inspect

__all__ = ["Inspection", "inspect"]
