"""Times training against upstream's `model_lib_v2.train_loop`: whole processes, in turns.

  python tests/benchmarks/bench_train.py --data data/signs --init mobilenet_v2.ckpt-1

Both train the same pipeline.config from the same weights with the same batch. What is measured is
the time from the start of the process to the end of step 20, and pictures a second after that.
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
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import tfod  # noqa: F401  (upstream does not load without it)

FIRST = 20  # the step whose end is measured from the start of the process


def train_upstream(config: Path, folder: Path, steps: int, note, checkpoint_every: int) -> None:
    """`train_loop` as `model_main_tf2.py` calls it."""
    import tensorflow as tf
    from object_detection import model_lib_v2

    step = model_lib_v2.eager_train_step

    def noted(*arguments, **options):
        losses = step(*arguments, **options)
        tf.numpy_function(lambda _: note(), [losses["Loss/total_loss"]], [])
        return losses

    model_lib_v2.eager_train_step = noted
    model_lib_v2.train_loop(
        pipeline_config_path=str(config),
        model_dir=str(folder),
        train_steps=steps,
        num_steps_per_iteration=FIRST,
        checkpoint_every_n=checkpoint_every,
    )


def train_ours(config: Path, data: Path, init: str, folder: Path, steps: int, note) -> None:
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, read_pipeline
    from tfod.quiet import quiet
    from tfod.training.trainer import RunSettings, train

    quiet()
    pipeline = read_pipeline(config)
    options = Options(
        init=Path(init) if init else None, init_type=pipeline.train_config.fine_tune_checkpoint_type
    )
    settings = RunSettings(eval_every=10 * steps, checkpoint_every=10 * steps)

    class Done(Exception):
        pass

    def on_step(step) -> None:
        note()
        if step.number == steps:  # neither pays for what follows
            raise Done

    with contextlib.suppress(Done):
        train(load_dataset(data), str(config), folder, options, settings, on_step=on_step)


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--init", default="", help="Checkpoint of the backbone; none for scratch.")
@click.option("--pipeline", default="ssd_mobilenet_v2_fpnlite_320x320", show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--steps", default=60, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--way", type=click.Choice(["upstream", "tfod"]), hidden=True)
@click.option("--work", type=click.Path(path_type=Path), hidden=True)
def main(data, init, pipeline, batch_size, steps, rounds, way, work) -> None:
    if way:
        run_way(way, work, data, init, steps)
        return
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options, configure, write_pipeline
    from tfod.model.templates import find_template

    seen: dict[str, list[list[float]]] = {"upstream": [], "tfod": []}
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
            for name, runs in seen.items():
                folder = Path(temporary) / f"{name}{number}"
                folder.mkdir()
                write_pipeline(config, folder / "pipeline.config")
                command = [sys.executable, __file__, "--way", name, "--work", folder]
                command += ["--data", data, "--init", init, "--steps", steps]
                started = time.time()
                done = subprocess.run(
                    list(map(str, command)), check=False, capture_output=True, text=True
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                times = json.loads((folder / "times.json").read_text())
                runs.append([at - started for at in times])
    report(seen, batch_size)


def run_way(way: str, work: Path, data: Path, init: str, steps: int) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    times: list[float] = []
    config = work / "pipeline.config"

    def note() -> None:
        times.append(time.time())

    if way == "upstream":
        # Its checkpoints are put off to the end.
        train_upstream(config, work / "run", steps, note, checkpoint_every=steps)
    else:
        train_ours(config, data, init, work / "run", steps, note)
    (work / "times.json").write_text(json.dumps(times))


def report(seen: dict[str, list[list[float]]], batch_size: int) -> None:
    table = Table(title=f"batch {batch_size}, {os.cpu_count()} cores, medians")
    headings = (f"to the end of step {FIRST}, s", "ratio", "images/s after it", "ratio")
    for heading in ("", *headings):
        table.add_column(heading, justify="right" if heading else "left")
    start = {
        way: statistics.median(times[FIRST - 1] for times in runs) for way, runs in seen.items()
    }
    speed = {
        way: statistics.median(
            batch_size * (len(times) - FIRST) / (times[-1] - times[FIRST - 1]) for times in runs
        )
        for way, runs in seen.items()
    }
    for way in seen:
        table.add_row(
            way,
            f"{start[way]:.1f}",
            f"{start[way] / start['upstream']:.2f}",
            f"{speed[way]:.1f}",
            f"{speed[way] / speed['upstream']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
