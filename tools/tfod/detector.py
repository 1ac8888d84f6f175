"""Re-exports `Detector`, for the documented `from tfod.detector import Detector`."""

from tfod.detection.detector import Detector

__all__ = ["Detector"]
