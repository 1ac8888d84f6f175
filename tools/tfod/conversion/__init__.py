"""Converts annotated images to a data set: read, check, split, write (`tfod convert`)."""

from tfod.conversion.converter import convert

__all__ = ["convert"]
