"""Detections, the `Detector` that makes them, the images they come from and files they go to."""

from tfod.detection.detections import Detections
from tfod.detection.detector import Detector

__all__ = ["Detections", "Detector"]
