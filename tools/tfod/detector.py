"""`from tfod.detector import Detector`, as the documentation has it."""

from tfod.detection.detector import Detector

__all__ = ["Detector"]
