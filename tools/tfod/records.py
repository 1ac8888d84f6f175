"""Keeps the documented import `from tfod.records import read_records` working."""

from tfod.dataset.records import Record, read_records

__all__ = ["Record", "read_records"]
