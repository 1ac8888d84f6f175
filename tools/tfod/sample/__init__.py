"""Synthetic road-sign images, so that every stage runs without a download (`tfod sample`)."""

from tfod.sample.sample import write_sample

__all__ = ["write_sample"]
