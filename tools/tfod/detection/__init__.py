"""Runs a detector on images and videos: `Detector`, `Detections`, input files and output files."""

from tfod.detection.detections import Detections
from tfod.detection.detector import Detector

__all__ = ["Detections", "Detector"]
