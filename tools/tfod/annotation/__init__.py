"""What a person drew on an image, and the files it comes in: one module a format.

`Annotation` and `Box` load no reader. `formats.find_annotations` finds the reader for a path.
"""

from tfod.annotation.annotation import Annotation, Box

__all__ = ["Annotation", "Box"]
