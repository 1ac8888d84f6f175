"""A run -> SavedModel and TFLite, compared with the checkpoint (`tfod export`)."""

from tfod.export.exporter import export

__all__ = ["export"]
