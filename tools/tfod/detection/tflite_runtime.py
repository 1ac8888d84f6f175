"""Running an exported `.tflite` with LiteRT, as a phone does; needs no TensorFlow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import numpy as np

from tfod.detection.tflite_file import TFLiteFile
from tfod.errors import UserError
from tfod.quiet import native_chatter_held

MOST_THREADS = 4  # more do not help networks of this size
Outputs = dict[str, np.ndarray]
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def load_tflite(file: TFLiteFile, threads: int | None = None) -> Callable[[np.ndarray], Outputs]:
    """Loads a `.tflite` into LiteRT.

    Args:
      threads: to compute with, where the file allows more than one; None for one a core, up to
        four.

    Returns:
      A function of uint8 `[H, W, 3]` RGB to the model's outputs, by the names and in the shapes of
      a SavedModel's: `detection_boxes` `[1, N, 4]` (ymin, xmin, ymax, xmax, normalized),
      `detection_scores` `[1, N]`, `detection_classes` `[1, N]` as in the label map, and
      `num_detections` `[1]`. Threads that call it take turns.

    Raises:
      UserError: LiteRT cannot load it.
    """
    if file.one_thread:
        threads = 1
    run = _interpreter(file, threads or min(os.cpu_count() or 1, MOST_THREADS))
    lock = threading.Lock()

    def model(pixels: np.ndarray) -> Outputs:
        with lock:
            return run(pixels)

    return model


def load_tflite_for_many(file: TFLiteFile) -> Callable[[np.ndarray], Outputs]:
    """As `load_tflite`, for several threads that call it at a time.

    Each gets an interpreter of its own that computes in that thread, which takes fewer turns to
    wait for one another than several threads do that share a picture.
    """
    idle: SimpleQueue[Callable[[np.ndarray], Outputs]] = SimpleQueue()

    def model(pixels: np.ndarray) -> Outputs:
        try:
            run = idle.get_nowait()
        except Empty:
            run = _interpreter(file, 1)
        try:
            return run(pixels)
        finally:
            idle.put(run)

    return model


def _interpreter(file: TFLiteFile, threads: int) -> Callable[[np.ndarray], Outputs]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with native_chatter_held():
            interpreter = Interpreter(model_content=file.content, num_threads=threads)
            interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner()
        (given,) = signature.get_input_details().values()
        outputs = {name: signature.get_output_details()[name]["index"] for name in OUTPUTS}
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            file.path, "cannot be loaded as a TFLite model", "Export it again"
        ) from error

    def run(pixels: np.ndarray) -> Outputs:
        interpreter.set_tensor(given["index"], file.given.prepare(pixels, given["dtype"]))
        interpreter.invoke()
        found = {name: interpreter.get_tensor(index) for name, index in outputs.items()}
        found["detection_boxes"] /= np.tile(file.given.filled(pixels), 2)
        found["detection_classes"] += 1  # they count from 0
        return found

    return run
