"""From a picture's pixels to the input tensor of a `.tflite`; needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TFLiteInput:
    """How pixels become the input of a `.tflite`: resize, then `pixel * scale + offset`.

    Attributes:
      height, width: of the input tensor.
      scale, offset: a number a channel, R, G, B.
      shortest: None where the picture is stretched to fill the tensor. Else it keeps its shape, as
        `keep_aspect_ratio_resizer` has it: its shorter edge becomes this long, or its longer one as
        long as the tensor if that is less, and black fills what is left at the right or below.
    """

    height: int
    width: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    shortest: int | None = None

    def prepare(self, pixels: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """uint8 `[H, W, 3]` RGB -> `[1, height, width, 3]` of that dtype, integers rounded."""
        height, width = self._size(pixels)
        ready = resize_bilinear(pixels, height, width)
        if (height, width) != (self.height, self.width):
            ready = np.pad(ready, ((0, self.height - height), (0, self.width - width), (0, 0)))
        rows = ready.reshape(self.height, -1)  # which NumPy is faster with
        rows *= np.tile(np.float32(self.scale), self.width)
        rows += np.tile(np.float32(self.offset), self.width)
        return (ready if dtype == np.float32 else np.rint(ready, out=ready).astype(dtype))[None]

    def filled(self, pixels: np.ndarray) -> np.ndarray:
        """Shares of the tensor's height and width that the picture fills, float32 `[2]`."""
        return np.float32(self._size(pixels)) / np.float32([self.height, self.width])

    def _size(self, pixels: np.ndarray) -> tuple[int, int]:
        """Height and width of the resized picture (OD API `preprocessor.resize_to_range`)."""
        if self.shortest is None:
            return self.height, self.width
        size = np.float32(pixels.shape[:2])
        resized = np.rint(size * (np.float32(self.shortest) / size.min()))
        if resized.max() > self.height:
            resized = np.rint(size * (np.float32(self.height) / size.max()))
        height, width = resized.astype(int).tolist()
        return max(height, 1), max(width, 1)


def resize_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resize as the OD API's `fixed_shape_resizer` does it, float32 `[height, width, C]`.

    That is TensorFlow 1's `resize_bilinear`: output pixel i samples input coordinate i * scale,
    not (i + 1/2) * scale - 1/2, and nothing is averaged when shrinking. Pillow and OpenCV do
    otherwise, which moves boxes by up to half a pixel and blurs small objects.
    """
    (top, bottom, down), (left, right, across) = (
        _neighbours(size, target)
        for size, target in zip(pixels.shape[:2], (height, width), strict=True)
    )
    # As rows of numbers, not of pixels: NumPy is slow where the innermost axis has but three.
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


def _neighbours(size: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `target` samples: the two source indices and the weight of the second."""
    position = np.arange(target, dtype=np.float32) * np.float32(size / target)
    first = np.minimum(np.floor(position).astype(np.int64), size - 1)
    return first, np.minimum(first + 1, size - 1), (position - first).astype(np.float32)
