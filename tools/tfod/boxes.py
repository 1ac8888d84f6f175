"""Converts boxes between conventions. All conversions of the package are here.

| convention | four numbers | used by |
|---|---|---|
| xyxy | xmin, ymin, xmax, ymax | PASCAL VOC, supervision |
| xywh | xmin, ymin, width, height | COCO |
| cxcywh | center x, center y, width, height | YOLO |
| yxyx | ymin, xmin, ymax, xmax | OD API, TFLite, `Detections` |

Pixel coordinates are measured from the left and top edge of the image: x is 0 at the left edge and
the image width at the right edge. Normalized coordinates are fractions of width and height, from 0
to 1.

Functions with four coordinates as arguments work on numbers and, element by element, on arrays;
`clip_xyxy` takes numbers only. They do not load NumPy, which `tfod convert` does not need. The
other functions take arrays `[N, 4]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

Edge = TypeVar("Edge", float, "np.ndarray")
Four = tuple[Edge, Edge, Edge, Edge]


def xywh_to_xyxy(x: Edge, y: Edge, width: Edge, height: Edge) -> Four:
    """Converts xywh to xyxy, in the same unit."""
    return x, y, x + width, y + height


def xyxy_to_xywh(xmin: Edge, ymin: Edge, xmax: Edge, ymax: Edge) -> Four:
    """Converts xyxy to xywh, in the same unit."""
    return xmin, ymin, xmax - xmin, ymax - ymin


def cxcywh_to_xyxy(x: Edge, y: Edge, width: Edge, height: Edge) -> Four:
    """Converts cxcywh to xyxy, in the same unit."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def normalized_to_pixel_xyxy(
    xmin: Edge, ymin: Edge, xmax: Edge, ymax: Edge, width: float, height: float
) -> Four:
    """Converts xyxy from normalized coordinates to pixels of an image with this size."""
    return xmin * width, ymin * height, xmax * width, ymax * height


def pixel_to_normalized_xyxy(
    xmin: Edge, ymin: Edge, xmax: Edge, ymax: Edge, width: float, height: float
) -> Four:
    """Converts xyxy from pixels of an image with this size to normalized coordinates."""
    return xmin / width, ymin / height, xmax / width, ymax / height


def clip_xyxy(
    xmin: float, ymin: float, xmax: float, ymax: float, width: float, height: float
) -> tuple[float, float, float, float]:
    """Clips xyxy, in pixels, to an image with this size."""
    return max(xmin, 0.0), max(ymin, 0.0), min(xmax, float(width)), min(ymax, float(height))


def normalized_yxyx_to_pixel_xyxy(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Converts normalized yxyx to xyxy in pixels; both float32 `[N, 4]`."""
    import numpy as np

    return boxes[:, [1, 0, 3, 2]] * np.array([width, height] * 2, np.float32)


def pixel_xyxy_to_normalized_yxyx(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Converts xyxy in pixels to normalized yxyx; both `[N, 4]`, the result float64."""
    return boxes[:, [1, 0, 3, 2]] / [height, width, height, width]
