"""Frames of videos as images to annotate (`tfod frames`)."""

from tfod.frames.writer import FrameCounts, write_frames

__all__ = ["FrameCounts", "write_frames"]
