"""Exports a run as SavedModel and TFLite, and compares both with the checkpoint (`tfod export`)."""

from tfod.export.exporter import export

__all__ = ["export"]
