"""Ground truth of an image, and its file formats: one module per format.

Importing `Annotation` or `Box` loads no reader. `formats.find_annotations` selects the reader for a
path.
"""

from tfod.annotation.annotation import CORNERS, Annotation, Box, Repair

__all__ = ["CORNERS", "Annotation", "Box", "Repair"]
