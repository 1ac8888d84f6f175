"""Converts a detection function to ONNX."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tfod.detection.onnx_runtime import LABELS, PACKAGES, THRESHOLD, TILES
from tfod.errors import UserError
from tfod.quiet import hide_native_logs
from tfod.tiles import Tiles

if TYPE_CHECKING:
    import onnx
    from tensorflow.types.experimental import PolymorphicFunction

OPSET = 17  # ONNX Runtime 1.12 and later


def check_packages() -> None:
    """Checks that the packages for ONNX are installed. Loads none of them.

    Raises:
      UserError: one is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        remedy = f"Install it: pip install {' '.join(missing)}"
        raise UserError("--onnx", f"needs the package {' and '.join(missing)}", remedy)


def convert_to_onnx(
    detect: PolymorphicFunction,
    labels: dict[int, str],
    threshold: float,
    tiles: Tiles | None = None,
) -> bytes:
    """Converts a whole detector: resizing, normalization, network and non-maximum suppression.

    Args:
      detect: from `model.detection_function`.
      labels: label map, id to name.
      threshold: recommended score threshold for display.
      tiles: how images must be cut, which the file does not do itself.

    Returns:
      The content of the `.onnx` file. Its input and outputs have the names, shapes and dtypes of
      the SavedModel. Labels, threshold and tiles are in its metadata.

    Raises:
      UserError: the model has an operation that cannot be converted.
    """
    import onnx
    import tf2onnx

    try:
        with hide_native_logs():
            model, _ = tf2onnx.convert.from_function(
                detect, input_signature=detect.input_signature, opset=OPSET
            )
        _make_constants(model, detect)
        # Of an operation that it does not know, tf2onnx writes a node that no runtime can run.
        onnx.checker.check_model(model)
    # The parts of tf2onnx that convert single operations raise any exception.
    except Exception as error:
        raise UserError("--onnx", "cannot convert this model", "Leave it out") from error
    metadata = {LABELS: json.dumps(labels), THRESHOLD: str(threshold)}
    if tiles is not None:
        metadata[TILES] = json.dumps(vars(tiles))
    onnx.helper.set_model_props(model, metadata)
    return model.SerializeToString()


def _make_constants(model: onnx.ModelProto, detect: PolymorphicFunction) -> None:
    """Makes constants of the tensors that the function captured.

    The OD API's anchor generators create tensors outside of the graph, which tf2onnx takes for
    inputs.
    """
    import onnx

    captures = detect.get_concrete_function().graph.captures
    values = {placeholder.name: tensor for tensor, placeholder in captures}
    used = {name for node in model.graph.node for name in node.input}
    for tensor in list(model.graph.input):
        if tensor.name in values:
            model.graph.input.remove(tensor)
            if tensor.name in used:
                constant = onnx.numpy_helper.from_array(values[tensor.name].numpy(), tensor.name)
                model.graph.initializer.append(constant)
