"""Running an exported `.tflite` with LiteRT, as a phone does; needs no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tfod.errors import UserError
from tfod.quiet import native_chatter_held

INPUT_FILE = "tflite_input.json"


@dataclass(frozen=True)
class TFLiteInput:
    """How pixels become the input of a `.tflite`: resize, then `pixel * scale + offset`.

    Attributes:
      height, width: of the input tensor.
      scale, offset: a number a channel, R, G, B.
    """

    height: int
    width: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> TFLiteInput:
        """Reads what `write` wrote.

        Raises:
          UserError: the file is missing or of another form.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                path, "is missing or damaged", "Keep it beside the .tflite, as export wrote it"
            ) from error

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 `[H, W, 3]` RGB -> float32 `[1, height, width, 3]`."""
        resized = resize_bilinear(pixels, self.height, self.width)
        return (resized * np.float32(self.scale) + np.float32(self.offset))[None].astype(np.float32)


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
    down, across = down[:, None, None], across[None, :, None]

    def row(rows: np.ndarray) -> np.ndarray:
        chosen = pixels[rows]
        start = chosen[:, left].astype(np.float32)
        return start + (chosen[:, right] - start) * across

    upper = row(top)
    return upper + (row(bottom) - upper) * down


def _neighbours(size: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `target` samples: the two source indices and the weight of the second."""
    position = np.arange(target, dtype=np.float32) * np.float32(size / target)
    first = np.minimum(np.floor(position).astype(np.int64), size - 1)
    return first, np.minimum(first + 1, size - 1), (position - first).astype(np.float32)


def load_tflite(path: Path) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Loads a `.tflite` that export wrote.

    Returns:
      A function of uint8 `[H, W, 3]` RGB to boxes `[N, 4]` (ymin, xmin, ymax, xmax, normalized),
      scores `[N]` and class ids `[N]` as in the label map.

    Raises:
      UserError: the file is missing or no detector.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        content = path.read_bytes()
        with native_chatter_held():
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
            run = interpreter.get_signature_runner()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(path, "cannot be loaded as a TFLite model", "Export it again") from error
    wanted = {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
    if not wanted <= set(run.get_output_details()):
        raise UserError(path, "is not a detector that export wrote", "Export it again")
    (input_name,) = run.get_input_details()
    prepare = TFLiteInput.read(path.with_name(INPUT_FILE)).prepare

    def model(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        outputs = run(**{input_name: prepare(pixels)})
        count = int(outputs["num_detections"][0])
        boxes, scores, classes = (
            outputs[name][0][:count]
            for name in ("detection_boxes", "detection_scores", "detection_classes")
        )
        return boxes, scores, classes + 1  # the post-processing op counts classes from 0

    return model
