"""Times prediction against the loops people paste from tutorials, in turns.

  python tests/benchmarks/bench_predict.py --model exported_models/signs --images signs/images

The first table is from the start of the process to the first picture's detections, the second
pictures a second, file to detections, in a process that is warm.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

WARM_UP = 5
SAVED_MODEL, LITERT, FLOAT32, INT8 = WAYS = (
    "SavedModel, one at a time",
    "LiteRT, one at a time",
    "tfod, float32",
    "tfod, int8",
)


def detect_with(way: str, model: Path, pictures: list[Path]):
    """Yields once a picture."""
    import numpy as np
    from PIL import Image

    if way == SAVED_MODEL:
        import tensorflow as tf

        detect = tf.saved_model.load(str(model / "saved_model"))
        for path in pictures:
            image = np.array(Image.open(path).convert("RGB"))
            found = detect(tf.convert_to_tensor(image)[tf.newaxis, ...])
            count = int(found["num_detections"][0])
            yield {
                name: value[0, :count].numpy() for name, value in found.items() if value.ndim > 1
            }
    elif way == LITERT:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(model / "model.tflite"))
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        outputs = interpreter.get_output_details()
        for path in pictures:
            image = Image.open(path).convert("RGB").resize(given["shape"][2:0:-1])
            ready = (np.float32(image)[None] - 127.5) / 127.5
            interpreter.set_tensor(given["index"], ready)
            interpreter.invoke()
            yield [interpreter.get_tensor(each["index"]) for each in outputs]
    else:
        from tfod.detector import Detector

        name = "model.tflite" if way == FLOAT32 else "model_int8.tflite"
        yield from Detector.load(model / name).predict_all(pictures)


def pictures_a_second(way: str, model: Path, pictures: list[Path]) -> float:
    started = 0.0
    for number, _ in enumerate(detect_with(way, model, pictures), 1):
        if number == WARM_UP:
            started = time.perf_counter()
    return (len(pictures) - WARM_UP) / (time.perf_counter() - started)


def table(title: str, unit: str, seen: dict[str, list[float]], more_is_better: bool) -> None:
    shown = Table(title=title)
    for heading in ("", unit, "times faster"):
        shown.add_column(heading, justify="right" if heading else "left")
    medians = {name: statistics.median(each) for name, each in seen.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        times = median / first if more_is_better else first / median
        shown.add_row(name, f"{median:.2f}", f"{times:.2f}")
    Console().print(shown)


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--count", default=170, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--way", type=click.Choice(WAYS), hidden=True)
def main(model: Path, images: Path, count: int, rounds: int, way: str | None) -> None:
    pictures = sorted(path for path in images.iterdir() if path.is_file())[:count]
    if way:
        print(pictures_a_second(way, model, pictures))
        return

    def run(*command: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout

    cold: dict[str, list[float]] = {"SavedModel": [], "tfod predict": []}
    warm: dict[str, list[float]] = {each: [] for each in WAYS}
    load = (
        "import sys, numpy as np, tensorflow as tf; from PIL import Image; "
        "detect = tf.saved_model.load(sys.argv[1]); "
        "detect(tf.convert_to_tensor(np.array(Image.open(sys.argv[2]).convert('RGB')))[tf.newaxis])"
    )
    commands = {
        "SavedModel": ["-c", load, model / "saved_model", pictures[0]],
        "tfod predict": ["-m", "tfod", "predict", "--model", model / "model.tflite", pictures[0]],
    }
    for _ in range(rounds):
        for name, command in commands.items():
            started = time.perf_counter()
            run(*command)
            cold[name].append(time.perf_counter() - started)
        for each in WAYS:
            given = ["--model", model, "--images", images, "--count", count, "--way", each]
            warm[each].append(float(run(__file__, *given)))
    cores = os.cpu_count()
    table(f"first detections, whole process, {cores} cores, medians", "seconds", cold, False)
    table(f"{len(pictures)} pictures, {cores} cores, medians", "pictures/s", warm, True)


if __name__ == "__main__":
    main()
