"""Runs convolutions in bfloat16 on CPUs where that is faster than float32."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

AUTO, FLOAT32, BFLOAT16 = PRECISIONS = ("auto", "float32", "bfloat16")
CPU_INFO = Path("/proc/cpuinfo")
# TensorFlow's own lists include these operations, but on a CPU they are slower in bfloat16.
KEPT_IN_FLOAT32 = {
    "ALLOWLIST": (
        "DepthwiseConv2dNative",
        "DepthwiseConv2dNativeBackpropFilter",
        "DepthwiseConv2dNativeBackpropInput",
    ),
    "INFERLIST": ("FusedBatchNormV3", "FusedBatchNormGradV3"),
}
REWRITE = "auto_mixed_precision_onednn_bfloat16"


def resolve_precision(precision: str) -> str:
    """Returns float32 or bfloat16: the precision to use on this machine.

    Args:
      precision: one of `PRECISIONS`.

    Raises:
      UserError: bfloat16 is requested, but not supported on this machine.
    """
    import tensorflow as tf

    if precision == FLOAT32:
        return FLOAT32
    obstacle = None
    if tf.config.list_physical_devices("GPU"):
        obstacle = "is for CPUs, but this machine trains on its GPU"
    elif not _cpu_has_bfloat16():
        obstacle = "needs a CPU with AVX512_BF16 or AMX, and this CPU has neither"
    if obstacle and precision == BFLOAT16:
        raise UserError("--precision bfloat16", obstacle, "Omit the option")
    return FLOAT32 if obstacle else BFLOAT16


def _cpu_has_bfloat16() -> bool:
    try:
        flags = CPU_INFO.read_text(encoding="ascii", errors="replace").split()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def safe_precision(graph: tf.Graph, precision: str) -> str:
    """Returns `precision`, or float32 if the gradients of the graph would be wrong in bfloat16.

    oneDNN leaves the bfloat16 gradient of a kernel uninitialized, often NaN, if the feature map is
    narrower than the stride, such as a 1x1 map with stride 2 (observed with TensorFlow 2.20).
    """
    for operation in graph.get_operations():
        if operation.type == "Conv2DBackpropFilter":
            width, stride = operation.inputs[0].shape[2], operation.get_attr("strides")[2]
            if width is not None and width < stride:
                return FLOAT32
    return precision


@contextmanager
def convolutions_in(precision: str) -> Iterator[None]:
    """Runs the convolutions of functions called in the block in `precision`.

    bfloat16 affects only matrix products: convolutions that are not depthwise, and their gradients.
    Weights, weight updates, batch norm and losses stay in float32, so that no loss scaling is
    needed and checkpoints do not change. TensorFlow's graph rewrite
    `auto_mixed_precision_onednn_bfloat16` does the conversion.
    """
    import tensorflow as tf

    if precision == FLOAT32:
        yield
        return
    for name, operations in KEPT_IN_FLOAT32.items():
        variable = f"TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_{name}_REMOVE"
        os.environ.setdefault(variable, ",".join(operations))
    tf.config.optimizer.set_experimental_options({REWRITE: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({REWRITE: False})
