"""All that knows the age of `object_detection`, or uses what it and Keras keep private."""

from tfod.upstream.repairs import install

__all__ = ["install"]
