"""Compares the speed and the memory of training steps with different settings of `tfod train`.

  python tests/benchmarks/bench_steps.py --data data/signs --settings accumulate=4

Trains the same template from scratch with the default settings and with each `--settings`, such as
`accumulate=4`, `precision=float16` or `jit=true,precision=float16`, in a process of its own. The
candidates run alternately. Prints the median of the seconds per step after the first ones, and the
peak of the memory: of the GPU if there is one, otherwise of the process.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import tfod  # noqa: F401  (upstream cannot be imported without it)

WARM_UP = 5  # steps that are not measured: the first one is traced, and XLA compiles later ones


def parse(text: str) -> dict[str, str | int | bool]:
    """Returns the fields of `RunSettings` in a text such as "accumulate=4,precision=float32"."""
    pairs = [pair.split("=") for pair in text.split(",") if pair]
    return {
        name: int(value) if value.isdigit() else value == "true" if name == "jit" else value
        for name, value in pairs
    }


def measure(
    data: Path, template: str, size: int | None, batch_size: int, steps: int, text: str
) -> tuple[float, float]:
    """Returns seconds per step and the peak of the memory in GB."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, configure
    from tfod.model.templates import find_template
    from tfod.training.learner import Learner
    from tfod.training.precision import resolve_precision
    from tfod.training.settings import RunSettings

    settings = RunSettings(**parse(text))
    options = Options(steps=WARM_UP + steps, batch_size=batch_size, input_size=size)
    pipeline = configure(find_template(template), load_dataset(data), options)
    precision = resolve_precision(settings.precision)
    learner = Learner(pipeline, settings, precision=precision)
    times = []
    for features, labels in learner.training_batches(seed=0, balance=False):
        losses = learner.train(features, labels)
        float(losses["Loss/total_loss"])  # waits for a GPU
        times.append(time.perf_counter())
    seconds = [
        end - start for start, end in zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)
    ]
    if tf.config.list_physical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # KiB on Linux
    return statistics.median(seconds), peak


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--settings", multiple=True, help="Fields of RunSettings.")
@click.option("--pipeline", default="ssd_mobilenet_v2_fpnlite_320x320", show_default=True)
@click.option("--input-size", type=int)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--steps", default=20, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--candidate", hidden=True)
def main(data, settings, pipeline, input_size, batch_size, steps, rounds, candidate) -> None:
    if candidate is not None:
        print(json.dumps(measure(data, pipeline, input_size, batch_size, steps, candidate)))
        return
    results: dict[str, list[list[float]]] = {text: [] for text in ("", *settings)}
    for _ in range(rounds):
        for text, measured in results.items():
            result = subprocess.run(
                [sys.executable, *sys.argv, "--candidate", text],
                check=False,
                capture_output=True,
                text=True,
            )
            if result.returncode:
                raise SystemExit(result.stderr)
            measured.append(json.loads(result.stdout.splitlines()[-1]))
    report(results, f"{pipeline}, batch {batch_size}, {os.cpu_count()} cores, medians")


def report(results: dict[str, list[list[float]]], title: str) -> None:
    table = Table(title=title)
    for heading in ("settings", "s per step", "ratio", "GB", "ratio"):
        table.add_column(heading, justify="left" if heading == "settings" else "right")
    medians = {
        text: [statistics.median(values) for values in zip(*measured, strict=True)]
        for text, measured in results.items()
    }
    for text, (seconds, memory) in medians.items():
        table.add_row(
            text or "default",
            *(f"{seconds:.2f}", f"{seconds / medians[''][0]:.2f}"),
            *(f"{memory:.2f}", f"{memory / medians[''][1]:.2f}"),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
