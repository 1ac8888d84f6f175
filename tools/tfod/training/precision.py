"""Convolutions in bfloat16, on processors that multiply it faster than float32."""

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
# Of these the rewrite's own lists would take bfloat16 too, and on a CPU all of them are slower so.
LEFT_IN_FLOAT32 = {
    "ALLOWLIST": (
        "DepthwiseConv2dNative",
        "DepthwiseConv2dNativeBackpropFilter",
        "DepthwiseConv2dNativeBackpropInput",
    ),
    "INFERLIST": ("FusedBatchNormV3", "FusedBatchNormGradV3"),
}
REWRITE = "auto_mixed_precision_onednn_bfloat16"


def chosen(precision: str) -> str:
    """What `precision` comes to on this machine: float32 or bfloat16.

    Raises:
      UserError: bfloat16 was asked for, and convolutions cannot run in it here.
    """
    import tensorflow as tf

    if precision == FLOAT32:
        return FLOAT32
    lacks = None
    if tf.config.list_physical_devices("GPU"):
        lacks = "is for processors, and this machine trains on its GPU"
    elif not _has_bfloat16():
        lacks = "needs a processor with AVX512_BF16 or AMX, which this one has not"
    if lacks and precision == BFLOAT16:
        raise UserError("--precision bfloat16", lacks, "Leave it out")
    return FLOAT32 if lacks else BFLOAT16


def _has_bfloat16() -> bool:
    try:
        flags = CPU_INFO.read_text(encoding="ascii", errors="replace").split()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def safe_for(graph: tf.Graph, precision: str) -> str:
    """`precision`, or float32 where the gradients of `graph` would be wrong in it.

    In bfloat16 oneDNN leaves the gradient of a kernel uninitialized, often NaN, where its input is
    narrower than its stride, as a 1x1 map is under a stride of 2 (seen with TensorFlow 2.20).
    """
    for operation in graph.get_operations():
        if operation.type == "Conv2DBackpropFilter":
            width, stride = operation.inputs[0].shape[2], operation.get_attr("strides")[2]
            if width is not None and width < stride:
                return FLOAT32
    return precision


@contextmanager
def convolutions_in(precision: str) -> Iterator[None]:
    """Runs what is called in the block with its convolutions in `precision`.

    In bfloat16 only products of matrices take it: convolutions that are not depthwise, and their
    gradients. Weights, their updates, batch norm and losses stay in float32, so nothing needs a
    loss scale, and checkpoints are the same. It is TensorFlow's own rewrite of graphs
    (`auto_mixed_precision_onednn_bfloat16`).
    """
    import tensorflow as tf

    if precision == FLOAT32:
        yield
        return
    for name, operations in LEFT_IN_FLOAT32.items():
        variable = f"TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_{name}_REMOVE"
        os.environ.setdefault(variable, ",".join(operations))
    tf.config.optimizer.set_experimental_options({REWRITE: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({REWRITE: False})
