"""Prints where the time of a training step goes: by operation, with FLOPs, bytes and rates.

  python tests/benchmarks/profile_training.py --data data/signs --init mobilenet_v2.ckpt-1

Times are the durations of operations in TensorFlow's profiler; two operations can run at once, and
one can use several cores. FLOPs count a multiplication and an addition as two; bytes are those of
all inputs and outputs of an operation. Both come from the shapes in the graph before TensorFlow's
optimizers rewrite it. The losses are those of `--losses tight`. The input pipeline is timed alone.
"""

from __future__ import annotations

import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

import tfod  # noqa: F401  (upstream cannot be imported without it)

if TYPE_CHECKING:
    import tensorflow as tf

# oneDNN's kernels and fused operations: _MklNativeFusedBatchNormGradV3, _MklNativeConv2DWithBias.
REWRITTEN = re.compile(r"^_(MklNative|Mkl)?(Fused(?!BatchNorm))?|WithBias$")
SHOWN = 20


def kind(operation: str) -> str:
    """Returns the type of the operation from which TensorFlow's optimizers made this one."""
    return REWRITTEN.sub("", operation)


def profiled(folder: Path) -> Iterator[tuple[str, float]]:
    """Yields (type, seconds) of each executed operation in the profile in a folder."""
    from tensorflow.python.framework import op_def_registry
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    for plane in space.planes:
        if not plane.name.startswith("/host:CPU"):
            continue
        for event in (event for line in plane.lines for event in line.events):
            # Executed operations are named "path/of/the/operation:Type".
            operation = plane.event_metadata[event.metadata_id].name.rpartition(":")[-1]
            if op_def_registry.get(operation):
                yield kind(operation), event.duration_ps / 1e12


def flops(operation: tf.Operation) -> int:
    """Counts those of a convolution or its gradient; 0 for other operations."""
    if "Conv2" not in operation.type:
        return 0
    shapes = [tuple(t.shape) for t in (*operation.inputs, *operation.outputs)]
    images = [shape for shape in shapes if len(shape) == 4]
    if operation.type.endswith("BackpropFilter"):
        small, kernel = images[1], images[2]
    elif operation.type.endswith("BackpropInput"):
        small, kernel = images[1], images[0]
    else:
        small, kernel = images[2], images[1]
    height, width, inputs, outputs = kernel
    per_pixel = height * width * inputs * outputs
    count, rows, columns, _ = small
    return 2 * per_pixel * count * rows * columns


def tensor_bytes(operation: tf.Operation) -> int:
    tensors = [t for t in (*operation.inputs, *operation.outputs) if t.shape.is_fully_defined()]
    return sum(t.shape.num_elements() * t.dtype.size for t in tensors if t.dtype.size)


def table(
    executed: list[tuple[str, float]], counted: Counter[str], moved: Counter[str], steps: int
) -> Table:
    """Returns the types that take the most time, and the rest in one row."""
    seconds, calls = Counter(), Counter(operation for operation, _ in executed)
    for operation, duration in executed:
        seconds[operation] += duration
    total = sum(seconds.values())
    shown = [operation for operation, _ in seconds.most_common(SHOWN)]
    result = Table(title="one step")
    for heading in ("operation", "calls", "ms", "share", "GFLOP", "GFLOP/s", "MB", "GB/s"):
        result.add_column(heading, justify="left" if heading == "operation" else "right")

    def add(name: str, kinds: list[str]) -> None:
        duration = sum(seconds[k] for k in kinds) / steps
        work, size = (sum(c[k] for k in kinds) / 1e9 for c in (counted, moved))
        result.add_row(
            name,
            f"{sum(calls[k] for k in kinds) / steps:.0f}",
            f"{1e3 * duration:.0f}",
            f"{100 * duration * steps / total:.1f} %",
            *((f"{work:.1f}", f"{work / duration:.0f}") if work else ("", "")),
            *((f"{1e3 * size:.0f}", f"{size / duration:.1f}") if size else ("", "")),
        )

    for operation in shown:
        add(operation, [operation])
    add("all others", [operation for operation in seconds if operation not in shown])
    add("sum", list(seconds))
    return result


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--init", type=click.Path(path_type=Path), help="Checkpoint of the backbone.")
@click.option("--pipeline", default="ssd_mobilenet_v2_fpnlite_320x320", show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--steps", default=10, show_default=True)
def main(data: Path, init: Path | None, pipeline: str, batch_size: int, steps: int) -> None:
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, configure
    from tfod.model.templates import find_template
    from tfod.quiet import quiet
    from tfod.training.choices import TIGHT
    from tfod.training.learner import Learner
    from tfod.training.precision import resolve_precision
    from tfod.training.settings import RunSettings

    quiet()
    import tensorflow as tf

    options = Options(batch_size=batch_size, init=init, init_type="classification" if init else "")
    config = configure(find_template(pipeline), load_dataset(data), options)
    learner = Learner(config, RunSettings(losses=TIGHT), precision=resolve_precision("auto"))
    used, unused = (iter(learner.training_batches(seed, balance=False)) for seed in (0, 1))
    batch = next(used)
    for _ in range(3):
        learner.train(*batch)["Loss/total_loss"].numpy()

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(steps):
            learner.train(*batch)["Loss/total_loss"].numpy()
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        tf.profiler.experimental.stop()
        executed = list(profiled(Path(folder)))
    cores = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds
    # Another iterator than that of the steps, during which the first one prefetches.
    next(unused)
    started = time.perf_counter()
    read = sum(1 for _ in islice(unused, 5 * steps))
    input_seconds = time.perf_counter() - started

    counted, moved = Counter(), Counter()
    for operation in learner._traced_step.get_concrete_function(*batch).graph.get_operations():
        counted[kind(operation.type)] += flops(operation)
        moved[kind(operation.type)] += tensor_bytes(operation)
    console = Console(width=100)
    console.print(table(executed, counted, moved, steps))
    console.print(
        f"{batch_size * steps / seconds:.2f} images/s, {cores:.2f} cores busy; "
        f"input pipeline alone {batch_size * read / input_seconds:.1f} images/s"
    )


if __name__ == "__main__":
    main()
