"""Runs convolutions in bfloat16 on CPUs where that is faster, or in float16 on GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

AUTO, FLOAT32, BFLOAT16, FLOAT16 = PRECISIONS = ("auto", "float32", "bfloat16", "float16")
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
# TensorFlow's graph rewrites.
REWRITES = {BFLOAT16: "auto_mixed_precision_onednn_bfloat16", FLOAT16: "auto_mixed_precision"}
# GPUs from Volta on have tensor cores. TensorFlow does not rewrite graphs for earlier ones.
MIN_COMPUTE_CAPABILITY = (7, 0)


def resolve_precision(precision: str) -> str:
    """Returns float32, bfloat16 or float16: the precision to use on this machine.

    Args:
      precision: one of `PRECISIONS`. auto is bfloat16 on CPUs that support it, otherwise float32.

    Raises:
      UserError: bfloat16 or float16 is requested, but not supported on this machine.
    """
    import tensorflow as tf

    if precision == FLOAT32:
        return FLOAT32
    if precision == FLOAT16:
        if obstacle := _obstacle_to_float16():
            raise UserError("--precision float16", obstacle, "Omit the option")
        return FLOAT16
    obstacle = None
    if tf.config.list_physical_devices("GPU"):
        obstacle = "is for CPUs, but this machine trains on its GPU"
    elif not _cpu_has_bfloat16():
        obstacle = "needs a CPU with AVX512_BF16 or AMX, and this CPU has neither"
    if obstacle and precision == BFLOAT16:
        raise UserError("--precision bfloat16", obstacle, "Omit the option")
    return FLOAT32 if obstacle else BFLOAT16


def _obstacle_to_float16() -> str | None:
    """Returns why the GPUs of this machine cannot train in float16; None if they can."""
    import tensorflow as tf

    needs = "needs an NVIDIA GPU with compute capability {}.{} or higher".format(
        *MIN_COMPUTE_CAPABILITY
    )
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{needs}, and TensorFlow finds no GPU"
    for gpu in gpus:
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        if capability is None:  # not from NVIDIA
            return f"{needs}, and that of this GPU is not known"
        if capability < MIN_COMPUTE_CAPABILITY:
            return f"{needs}, and this GPU has {'.'.join(map(str, capability))}"
    return None


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
    if precision != BFLOAT16:
        return precision
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
    needed and checkpoints do not change.

    float16 affects what is faster with it on GPUs: convolutions, their gradients, and operations
    between them such as batch norm, whose statistics stay in float32. Weights, weight updates and
    losses stay in float32. It needs `loss_scaling`, since its smallest number is 6e-8.

    TensorFlow's graph rewrites `REWRITES` do the conversion.
    """
    import tensorflow as tf

    if precision == FLOAT32:
        yield
        return
    if precision == BFLOAT16:
        for name, operations in KEPT_IN_FLOAT32.items():
            variable = f"TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_{name}_REMOVE"
            os.environ.setdefault(variable, ",".join(operations))
    rewrite = REWRITES[precision]
    tf.config.optimizer.set_experimental_options({rewrite: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({rewrite: False})
