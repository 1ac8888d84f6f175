"""Runs an exported `.tflite` with LiteRT, the runtime of phones, without TensorFlow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import numpy as np

from tfod.detection.raw_outputs import ENCODINGS, SCORES
from tfod.detection.tflite_file import TFLiteFile
from tfod.errors import UserError
from tfod.quiet import hide_native_logs

MAX_THREADS = 4  # more do not speed up networks of this size
Outputs = dict[str, np.ndarray]
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def load_tflite(file: TFLiteFile, threads: int | None = None) -> Callable[[np.ndarray], Outputs]:
    """Loads a `.tflite` into LiteRT.

    Args:
      threads: for inference, if the file allows more than one; None for one per core, up to four.

    Returns:
      A function from uint8 `[H, W, 3]` RGB to the model's outputs, with the names and shapes of a
      SavedModel: `detection_boxes` `[1, N, 4]` (ymin, xmin, ymax, xmax, normalized),
      `detection_scores` `[1, N]`, `detection_classes` `[1, N]` as in the label map, and
      `num_detections` `[1]`. It is thread-safe, but runs images one by one.

    Raises:
      UserError: LiteRT cannot load the file.
    """
    if file.one_thread:
        threads = 1
    run = _interpreter(file, threads or min(os.cpu_count() or 1, MAX_THREADS))
    lock = threading.Lock()

    def model(pixels: np.ndarray) -> Outputs:
        with lock:
            return run(pixels)

    return model


def load_tflite_for_threads(file: TFLiteFile) -> Callable[[np.ndarray], Outputs]:
    """Loads a `.tflite` like `load_tflite`, for several threads that call it at the same time.

    Each thread gets its own single-threaded interpreter. This needs less synchronization than
    several threads that work on one image.
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
        with hide_native_logs():
            interpreter = Interpreter(model_content=file.content, num_threads=threads)
            interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner()
        (tensor,) = signature.get_input_details().values()
        names = (ENCODINGS, SCORES) if file.post_processing else OUTPUTS
        details = signature.get_output_details()
        outputs = {name: details[name]["index"] for name in names}
        if file.post_processing:
            _check_shapes(file, details)
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            file.path, "cannot be loaded as a TFLite model", "Export it again"
        ) from error

    def run(pixels: np.ndarray) -> Outputs:
        interpreter.set_tensor(tensor["index"], file.input.prepare(pixels, tensor["dtype"]))
        interpreter.invoke()
        result = {name: interpreter.get_tensor(index) for name, index in outputs.items()}
        if file.post_processing:
            result = file.post_processing.detections(result[ENCODINGS], result[SCORES])
        else:
            # The operation leaves the remaining entries uninitialized; some are NaN.
            count = int(result["num_detections"][0])
            for name in ("detection_boxes", "detection_scores", "detection_classes"):
                result[name][:, count:] = 0
        result["detection_boxes"] /= np.tile(file.input.filled_fraction(pixels), 2)
        result["detection_classes"] += 1  # TFLite classes start at 0, the label map at 1
        return result

    return run


def _check_shapes(file: TFLiteFile, details: dict[str, dict]) -> None:
    """Raises a ValueError if anchors or labels do not belong to the network."""
    anchors = len(file.post_processing.anchors) if file.post_processing else 0
    expected = {ENCODINGS: [1, anchors, 4], SCORES: [1, anchors, len(file.labels)]}
    if any(details[name]["shape"].tolist() != shape for name, shape in expected.items()):
        raise ValueError("anchors or labels do not fit to the network")
