"""All conversions between box conventions.

| convention | four numbers | who uses it |
|---|---|---|
| xyxy | xmin, ymin, xmax, ymax | PASCAL VOC, supervision |
| xywh | xmin, ymin, width, height | COCO |
| cxcywh | centre x, centre y, width, height | YOLO |
| yxyx | ymin, xmin, ymax, xmax | OD API, TFLite, `Detections` |

Pixels count from the left and top edge of the image: x from 0 to its width. Normalized boxes are
shares of width and height, from 0 to 1.

The functions of four numbers take arrays as well, element by element. They need no NumPy, which a
conversion does not load. The others take arrays `[N, 4]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

Edge = TypeVar("Edge", float, "np.ndarray")
Four = tuple[Edge, Edge, Edge, Edge]


def xywh_to_xyxy(x: Edge, y: Edge, width: Edge, height: Edge) -> Four:
    """In the unit of the input."""
    return x, y, x + width, y + height


def xyxy_to_xywh(xmin: Edge, ymin: Edge, xmax: Edge, ymax: Edge) -> Four:
    """In the unit of the input."""
    return xmin, ymin, xmax - xmin, ymax - ymin


def cxcywh_to_xyxy(x: Edge, y: Edge, width: Edge, height: Edge) -> Four:
    """In the unit of the input."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def normalized_to_pixel_xyxy(
    xmin: Edge, ymin: Edge, xmax: Edge, ymax: Edge, width: float, height: float
) -> Four:
    """xyxy, normalized -> xyxy in pixels of an image of that size."""
    return xmin * width, ymin * height, xmax * width, ymax * height


def pixel_to_normalized_xyxy(
    xmin: Edge, ymin: Edge, xmax: Edge, ymax: Edge, width: float, height: float
) -> Four:
    """xyxy in pixels of an image of that size -> xyxy, normalized."""
    return xmin / width, ymin / height, xmax / width, ymax / height


def clip_xyxy(
    xmin: float, ymin: float, xmax: float, ymax: float, width: float, height: float
) -> tuple[float, float, float, float]:
    """xyxy in pixels, clipped to an image of that size."""
    return max(xmin, 0.0), max(ymin, 0.0), min(xmax, float(width)), min(ymax, float(height))


def normalized_yxyx_to_pixel_xyxy(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """float32 `[N, 4]` yxyx, normalized -> float32 `[N, 4]` xyxy in pixels."""
    import numpy as np

    return boxes[:, [1, 0, 3, 2]] * np.array([width, height] * 2, np.float32)


def pixel_xyxy_to_normalized_yxyx(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """`[N, 4]` xyxy in pixels -> float `[N, 4]` yxyx, normalized."""
    return boxes[:, [1, 0, 3, 2]] / [height, width, height, width]
