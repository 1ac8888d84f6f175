"""Compares the speed of `Detector` with the usual loops from tutorials.

  python tests/benchmarks/bench_predict.py --model exported_models/signs --images signs/images

The first table is the time from the start of the process to the first detections. The second is
images per second, from file to detections, after warm-up. The candidates run alternately.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
from whole_process import print_medians, run_python

WARM_UP = 5
SAVED_MODEL, LITERT, FLOAT32, INT8 = CANDIDATES = (
    "SavedModel, one at a time",
    "LiteRT, one at a time",
    "tfod, float32",
    "tfod, int8",
)


def detect_with(candidate: str, model: Path, images: list[Path]):
    """Yields the detections of each image."""
    import numpy as np
    from PIL import Image

    if candidate == SAVED_MODEL:
        import tensorflow as tf

        detect = tf.saved_model.load(str(model / "saved_model"))
        for path in images:
            image = np.array(Image.open(path).convert("RGB"))
            outputs = detect(tf.convert_to_tensor(image)[tf.newaxis, ...])
            count = int(outputs["num_detections"][0])
            yield {
                name: value[0, :count].numpy() for name, value in outputs.items() if value.ndim > 1
            }
    elif candidate == LITERT:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(model / "model.tflite"))
        interpreter.allocate_tensors()
        (tensor,) = interpreter.get_input_details()
        outputs = interpreter.get_output_details()
        for path in images:
            image = Image.open(path).convert("RGB").resize(tensor["shape"][2:0:-1])
            pixels = (np.float32(image)[None] - 127.5) / 127.5
            interpreter.set_tensor(tensor["index"], pixels)
            interpreter.invoke()
            yield [interpreter.get_tensor(output["index"]) for output in outputs]
    else:
        from tfod.detection.detector import Detector

        name = "model.tflite" if candidate == FLOAT32 else "model_int8.tflite"
        yield from Detector.load(model / name).predict_all(images)


def images_per_second(candidate: str, model: Path, images: list[Path]) -> float:
    started = 0.0
    for number, _ in enumerate(detect_with(candidate, model, images), 1):
        if number == WARM_UP:
            started = time.perf_counter()
    return (len(images) - WARM_UP) / (time.perf_counter() - started)


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--count", default=170, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--candidate", type=click.Choice(CANDIDATES), hidden=True)
def main(model: Path, images: Path, count: int, rounds: int, candidate: str | None) -> None:
    paths = sorted(path for path in images.iterdir() if path.is_file())[:count]
    if candidate:
        print(images_per_second(candidate, model, paths))
        return

    cold: dict[str, list[float]] = {"SavedModel": [], "tfod predict": []}
    warm: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    load = (
        "import sys, numpy as np, tensorflow as tf; from PIL import Image; "
        "detect = tf.saved_model.load(sys.argv[1]); "
        "detect(tf.convert_to_tensor(np.array(Image.open(sys.argv[2]).convert('RGB')))[tf.newaxis])"
    )
    commands = {
        "SavedModel": ["-c", load, model / "saved_model", paths[0]],
        "tfod predict": ["-m", "tfod", "predict", "--model", model / "model.tflite", paths[0]],
    }
    for _ in range(rounds):
        for name, command in commands.items():
            cold[name].append(run_python(*command)[0])
        for name in CANDIDATES:
            arguments = [
                "--model",
                model,
                "--images",
                images,
                "--count",
                count,
                "--candidate",
                name,
            ]
            warm[name].append(float(run_python(__file__, *arguments)[1]))
    print_medians("first detections, complete process", "seconds", cold)
    print_medians(f"{len(paths)} images", "images/s", warm, more_is_better=True)


if __name__ == "__main__":
    main()
