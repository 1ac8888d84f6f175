"""Ground truth of an image, and its file formats: one module per format.

`Annotation` and `Box` load no reader. `formats.find_annotations` selects the reader for a path.
"""

from tfod.annotation.annotation import Annotation, Box

__all__ = ["Annotation", "Box"]
