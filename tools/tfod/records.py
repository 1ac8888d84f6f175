"""`from tfod.records import read_records`, as the documentation has it."""

from tfod.dataset.records import Record, read_records

__all__ = ["Record", "read_records"]
