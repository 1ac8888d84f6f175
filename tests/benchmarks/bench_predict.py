"""Times prediction against the loops people paste from tutorials, in turns.

  python tests/benchmarks/bench_predict.py --model exported_models/signs --images signs/images

The first table is from the start of the process to the first picture's detections, the second
pictures a second, file to detections, in a process that is warm.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
from whole_process import print_medians, run_python

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
        from tfod.detection.detector import Detector

        name = "model.tflite" if way == FLOAT32 else "model_int8.tflite"
        yield from Detector.load(model / name).predict_all(pictures)


def pictures_a_second(way: str, model: Path, pictures: list[Path]) -> float:
    started = 0.0
    for number, _ in enumerate(detect_with(way, model, pictures), 1):
        if number == WARM_UP:
            started = time.perf_counter()
    return (len(pictures) - WARM_UP) / (time.perf_counter() - started)


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
            cold[name].append(run_python(*command)[0])
        for each in WAYS:
            given = ["--model", model, "--images", images, "--count", count, "--way", each]
            warm[each].append(float(run_python(__file__, *given)[1]))
    print_medians("first detections, whole process", "seconds", cold)
    print_medians(f"{len(pictures)} pictures", "pictures/s", warm, more_is_better=True)


if __name__ == "__main__":
    main()
