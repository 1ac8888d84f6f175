"""Running an exported `.tflite` with LiteRT, as a phone does; needs no TensorFlow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np

from tfod.errors import UserError
from tfod.quiet import native_chatter_held
from tfod.tflite_file import TFLiteFile

MOST_THREADS = 4  # more do not help networks of this size
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def load_tflite(
    file: TFLiteFile, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads a `.tflite` into LiteRT.

    Args:
      threads: to compute with, where the file allows more than one; None for one a core, up to
        four.

    Returns:
      A function of uint8 `[H, W, 3]` RGB to the model's outputs, by the names and in the shapes of
      a SavedModel's: `detection_boxes` `[1, N, 4]` (ymin, xmin, ymax, xmax, normalized),
      `detection_scores` `[1, N]`, `detection_classes` `[1, N]` as in the label map, and
      `num_detections` `[1]`. It may be called from several threads, which take turns.

    Raises:
      UserError: LiteRT cannot load it.
    """
    from ai_edge_litert.interpreter import Interpreter

    if file.one_thread:
        threads = 1
    threads = threads or min(os.cpu_count() or 1, MOST_THREADS)
    try:
        with native_chatter_held():
            interpreter = Interpreter(
                model_content=file.content,
                num_threads=threads,
            )
            interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner()
        (given,) = signature.get_input_details().values()
        outputs = {name: signature.get_output_details()[name]["index"] for name in OUTPUTS}
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            file.path, "cannot be loaded as a TFLite model", "Export it again"
        ) from error
    lock = threading.Lock()

    def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
        ready = file.given.prepare(pixels, given["dtype"])
        with lock:
            interpreter.set_tensor(given["index"], ready)
            interpreter.invoke()
            found = {name: interpreter.get_tensor(index) for name, index in outputs.items()}
        found["detection_boxes"] /= np.tile(file.given.filled(pixels), 2)
        found["detection_classes"] += 1  # they count from 0
        return found

    return model
