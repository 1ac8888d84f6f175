"""Converts image pixels to the input tensor of a `.tflite`, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TFLiteInput:
    """Resize and normalization of a `.tflite`: resize, then `pixel * scale + offset`.

    Attributes:
      height, width: size of the input tensor.
      scale, offset: one number per channel: R, G, B.
      shortest: None to stretch the image to the size of the tensor. Otherwise the image keeps its
        aspect ratio, as with `keep_aspect_ratio_resizer`: its shorter edge is resized to this
        length, or its longer edge to the edge of the tensor if that gives a smaller image. Black
        pads the right or the bottom.
    """

    height: int
    width: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    shortest: int | None = None

    def prepare(self, pixels: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Converts uint8 `[H, W, 3]` RGB to `[1, height, width, 3]`; rounds for integer dtypes."""
        height, width = self._size(pixels)
        tensor = resize_bilinear(pixels, height, width)
        if (height, width) != (self.height, self.width):
            tensor = np.pad(tensor, ((0, self.height - height), (0, self.width - width), (0, 0)))
        rows = tensor.reshape(self.height, -1)  # NumPy is faster on long rows
        rows *= np.tile(np.array(self.scale, np.float32), self.width)
        rows += np.tile(np.array(self.offset, np.float32), self.width)
        return (tensor if dtype == np.float32 else np.rint(tensor, out=tensor).astype(dtype))[None]

    def filled_fraction(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the fractions of the tensor's height and width without padding, float32 `[2]`."""
        size = np.array(self._size(pixels), np.float32)
        return size / np.array([self.height, self.width], np.float32)

    def _size(self, pixels: np.ndarray) -> tuple[int, int]:
        """Returns height and width after resizing (OD API `preprocessor.resize_to_range`)."""
        if self.shortest is None:
            return self.height, self.width
        size = np.array(pixels.shape[:2], np.float32)
        resized = np.rint(size * (np.float32(self.shortest) / size.min()))
        if resized.max() > self.height:
            resized = np.rint(size * (np.float32(self.height) / size.max()))
        height, width = resized.astype(int).tolist()
        return max(height, 1), max(width, 1)


def resize_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes like the OD API's `fixed_shape_resizer`, to float32 `[height, width, C]`.

    This is TensorFlow 1's `resize_bilinear`: output pixel i samples input coordinate i * scale, not
    (i + 1/2) * scale - 1/2, without antialiasing. Pillow and OpenCV resize differently, which moves
    boxes by up to half a pixel and blurs small objects.
    """
    (top, bottom, down), (left, right, across) = (
        _neighbors(size, target)
        for size, target in zip(pixels.shape[:2], (height, width), strict=True)
    )
    # Rows of numbers, not of pixels: NumPy is slow on an innermost axis of only three elements.
    channels = pixels.shape[2]
    left, right = (
        (columns[:, None] * channels + np.arange(channels)).ravel() for columns in (left, right)
    )
    needed, where = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    source = np.take(pixels, needed, axis=0).reshape(len(needed), -1)
    rows = np.take(source, left, axis=1).astype(np.float32)
    end = np.take(source, right, axis=1).astype(np.float32)
    end -= rows
    end *= np.repeat(across, channels)
    rows += end
    upper, lower = (np.take(rows, chosen, axis=0) for chosen in np.split(where, 2))
    lower -= upper
    lower *= down[:, None]
    upper += lower
    return upper.reshape(height, width, channels)


def _neighbors(size: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, for each of `target` samples, two source indices and the weight of the second."""
    position = np.arange(target, dtype=np.float32) * np.float32(size / target)
    first = np.minimum(np.floor(position).astype(np.int64), size - 1)
    return first, np.minimum(first + 1, size - 1), (position - first).astype(np.float32)
