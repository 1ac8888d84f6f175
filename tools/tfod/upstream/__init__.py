"""Code that repairs old releases or uses private symbols of `object_detection` and its libraries.

`repairs` makes the OD API work with current releases of its dependencies. `internals` and
`mediapipe_metadata` wrap private symbols. `stateless_random` replaces random number generators.
"""

from tfod.upstream.repairs import install

__all__ = ["install"]
