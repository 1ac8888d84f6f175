"""Runs an exported `.onnx` with ONNX Runtime, without TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfod.errors import UserError
from tfod.tiles import Tiles

LABELS, THRESHOLD, TILES = "labels", "threshold", "tiles"  # in the file's metadata
PACKAGES = ("onnx", "onnxruntime", "tf2onnx")  # the first and the last only to write a file


@dataclass(frozen=True)
class ONNXModel:
    """A `.onnx` that `tfod export` wrote, loaded into ONNX Runtime.

    Attributes:
      labels: label map, id to name.
      threshold: recommended score threshold for display.
      model: a function from uint8 `[H, W, 3]` RGB to the outputs of a SavedModel, float32
        `[1, ...]` by the OD API's names. Thread-safe.
      tiles: how to cut images, as the training data was cut; None for whole images.
    """

    labels: dict[int, str]
    threshold: float
    model: Callable[[np.ndarray], dict[str, np.ndarray]]
    tiles: Tiles | None


def load_onnx(path: Path, threads: int | None = None) -> ONNXModel:
    """Loads a `.onnx` that `tfod export` wrote.

    Args:
      threads: for one image; None for one per core.

    Raises:
      UserError: the file cannot be read or is corrupt, `tfod export` did not write it, or the
        package `onnxruntime` is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        remedy = "Install it: pip install onnxruntime"
        raise UserError(path, "needs the package onnxruntime", remedy) from error
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", "Check the path") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # fatal errors; others become exceptions
    try:
        # Its fallback to other providers prints errors to stdout.
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        metadata = session.get_modelmeta().custom_metadata_map
        labels = {int(key): str(name) for key, name in json.loads(metadata[LABELS]).items()}
        threshold = float(metadata[THRESHOLD])
        tiles = Tiles(**json.loads(metadata[TILES])) if TILES in metadata else None
        (image,) = (tensor.name for tensor in session.get_inputs())
        names = [tensor.name for tensor in session.get_outputs()]
    # Its exceptions have no common base class but Exception.
    except Exception as error:
        raise _corrupt(path) from error

    def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
        try:
            outputs = dict(zip(names, session.run(names, {image: pixels[None]}), strict=True))
        except Exception as error:
            raise _corrupt(path) from error
        if not _are_detections(outputs):
            raise _corrupt(path)
        return outputs

    return ONNXModel(labels, threshold, model, tiles)


def _corrupt(path: Path) -> UserError:
    return UserError(path, "is corrupt, or was not written by `tfod export`", "Export it again")


def _are_detections(outputs: dict[str, np.ndarray]) -> bool:
    """Whether the names and shapes are those of a SavedModel."""
    shapes = {name: value.shape for name, value in outputs.items()}
    _, most, *_ = (*shapes.get("detection_scores", ()), 0, 0)
    expected = {
        "detection_boxes": (1, most, 4),
        "detection_scores": (1, most),
        "detection_classes": (1, most),
        "num_detections": (1,),
    }
    if any(shapes.get(name) != shape for name, shape in expected.items()):
        return False
    return 0 <= outputs["num_detections"][0] <= most  # not true for NaN
