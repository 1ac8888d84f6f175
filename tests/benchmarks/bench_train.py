"""Compares the training speed of tfod and upstream's `model_lib_v2.train_loop`.

  python tests/benchmarks/bench_train.py --data data/signs --init mobilenet_v2.ckpt-1

Both train the same pipeline.config from the same weights with the same batch size. The results are
the time from the start of the process to the end of step 20, and images per second after that. The
candidates run alternately. `--precision` is that of tfod; upstream trains in float32.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import tfod  # noqa: F401  (upstream cannot be imported without it)
from tfod.training.precision import AUTO, PRECISIONS

FIRST = 20  # the time from the start of the process to the end of this step is measured


def train_upstream(
    config: Path, folder: Path, steps: int, on_step: Callable[[], None], checkpoint_every: int
) -> None:
    """Calls `train_loop` as `model_main_tf2.py` does, and `on_step()` after each step."""
    import tensorflow as tf
    from object_detection import model_lib_v2

    train_step = model_lib_v2.eager_train_step

    def reporting_step(*arguments, **options):
        losses = train_step(*arguments, **options)
        tf.numpy_function(lambda _: on_step(), [losses["Loss/total_loss"]], [])
        return losses

    model_lib_v2.eager_train_step = reporting_step
    model_lib_v2.train_loop(
        pipeline_config_path=str(config),
        model_dir=str(folder),
        train_steps=steps,
        num_steps_per_iteration=FIRST,
        checkpoint_every_n=checkpoint_every,
    )


def train_tfod(
    config: Path,
    data: Path,
    init: str,
    folder: Path,
    steps: int,
    precision: str,
    on_step: Callable[[], None],
) -> None:
    """Calls `train`, and `on_step()` after each step."""
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, read_pipeline
    from tfod.quiet import quiet
    from tfod.training.trainer import RunSettings, train

    quiet()
    pipeline = read_pipeline(config)
    options = Options(
        init=Path(init) if init else None, init_type=pipeline.train_config.fine_tune_checkpoint_type
    )
    settings = RunSettings(eval_every=10 * steps, checkpoint_every=10 * steps, precision=precision)

    class Done(Exception):
        pass

    def stop_at_end(step) -> None:
        on_step()
        if step.number == steps:  # the final evaluation and checkpoint are not measured
            raise Done

    with contextlib.suppress(Done):
        train(load_dataset(data), str(config), folder, options, settings, on_step=stop_at_end)


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--init", default="", help="Checkpoint of the backbone; empty to train from scratch.")
@click.option("--pipeline", default="ssd_mobilenet_v2_fpnlite_320x320", show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--steps", default=60, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default=AUTO, show_default=True)
@click.option("--candidate", type=click.Choice(["upstream", "tfod"]), hidden=True)
@click.option("--work", type=click.Path(path_type=Path), hidden=True)
def main(data, init, pipeline, batch_size, steps, rounds, precision, candidate, work) -> None:
    if candidate:
        run_candidate(candidate, work, data, init, steps, precision)
        return
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, configure, write_pipeline
    from tfod.model.templates import find_template

    results: dict[str, list[list[float]]] = {"upstream": [], "tfod": []}
    with tempfile.TemporaryDirectory() as temporary:
        options = Options(
            steps=steps,
            batch_size=batch_size,
            init=Path(init) if init else None,
            init_type="classification" if init else None,
        )
        config = configure(find_template(pipeline), load_dataset(data), options)
        write_pipeline(config, Path(temporary) / "pipeline.config")
        for number in range(rounds):
            for name, runs in results.items():
                folder = Path(temporary) / f"{name}{number}"
                folder.mkdir()
                write_pipeline(config, folder / "pipeline.config")
                command = [sys.executable, __file__, "--candidate", name, "--work", folder]
                command += ["--data", data, "--init", init, "--steps", steps]
                command += ["--precision", precision]
                started = time.time()
                result = subprocess.run(
                    list(map(str, command)), check=False, capture_output=True, text=True
                )
                if result.returncode:
                    raise SystemExit(result.stderr)
                times = json.loads((folder / "times.json").read_text())
                runs.append([finished - started for finished in times])
    report(results, batch_size)


def run_candidate(
    candidate: str, work: Path, data: Path, init: str, steps: int, precision: str
) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    times: list[float] = []
    config = work / "pipeline.config"

    def on_step() -> None:
        times.append(time.time())

    if candidate == "upstream":
        # It writes a checkpoint only at the end, which is not measured.
        train_upstream(config, work / "run", steps, on_step, checkpoint_every=steps)
    else:
        train_tfod(config, data, init, work / "run", steps, precision, on_step)
    (work / "times.json").write_text(json.dumps(times))


def report(results: dict[str, list[list[float]]], batch_size: int) -> None:
    table = Table(title=f"batch {batch_size}, {os.cpu_count()} cores, medians")
    headings = (f"seconds to the end of step {FIRST}", "ratio", "images/s after that", "ratio")
    for heading in ("", *headings):
        table.add_column(heading, justify="right" if heading else "left")
    start = {
        name: statistics.median(times[FIRST - 1] for times in runs)
        for name, runs in results.items()
    }
    speed = {
        name: statistics.median(
            batch_size * (len(times) - FIRST) / (times[-1] - times[FIRST - 1]) for times in runs
        )
        for name, runs in results.items()
    }
    for name in results:
        table.add_row(
            name,
            f"{start[name]:.1f}",
            f"{start[name] / start['upstream']:.2f}",
            f"{speed[name]:.1f}",
            f"{speed[name] / speed['upstream']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
