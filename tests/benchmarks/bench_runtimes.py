"""Compares the runtimes that can run an export: accuracy, boxes, size and time per image.

  python tests/benchmarks/bench_runtimes.py --run runs/signs --model exported_models/signs

The reference is the checkpoint of the run, on 50 images of its val split, as in `parity.csv`. All
runtimes are measured in one process, one after the other. MediaPipe gives boxes in whole pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from tfod.detection.detector import Detector, detector_of
from tfod.detection.tflite_file import read_tflite
from tfod.export import parity
from tfod.export.parity import Reference, measure_parity
from tfod.model.checkpoint import restore_for_inference
from tfod.model.detection_function import detection_function
from tfod.model.pipeline import read_pipeline, set_input_size
from tfod.model.run_folder import RunFolder
from tfod.progress import progress_bars


@contextmanager
def mediapipe_detector(path: Path) -> Iterator[Detector]:
    """Loads a `.tflite` into MediaPipe Tasks, with one CPU thread as MediaPipe chooses."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions

    labels = read_tflite(path).labels
    ids = {name: class_id for class_id, name in labels.items()}
    options = ObjectDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(path)), max_results=100, score_threshold=0.02
    )

    def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
        height, width = pixels.shape[:2]
        image = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        rows = [
            (
                category.score,
                ids[category.category_name],
                [
                    box.origin_y / height,
                    box.origin_x / width,
                    (box.origin_y + box.height) / height,
                    (box.origin_x + box.width) / width,
                ],
            )
            for detection in detector.detect(image).detections
            for box in [detection.bounding_box]
            for category in detection.categories
        ]
        rows.sort(key=lambda row: -row[0])
        return {
            "detection_boxes": np.array([[box for _, _, box in rows]], np.float32).reshape(
                1, -1, 4
            ),
            "detection_scores": np.array([[score for score, _, _ in rows]], np.float32),
            "detection_classes": np.array([[class_id for _, class_id, _ in rows]], np.float32),
            "num_detections": np.array([len(rows)], np.float32),
        }

    with ObjectDetector.create_from_options(options) as detector:
        yield Detector(labels, model)


@click.command(help=__doc__)
@click.option("--run", type=click.Path(path_type=Path), required=True)
@click.option("--model", type=click.Path(path_type=Path), required=True, help="Export folder.")
def main(run: Path, model: Path) -> None:
    source = RunFolder(run)
    pipeline = read_pipeline(source.config)
    if size := source.detection_size():
        set_input_size(pipeline, size)
    files = sorted([*model.glob("*.tflite"), *model.glob("*.onnx")])
    labels = Detector.load(files[0]).labels
    checkpoint = detector_of(labels, detection_function(restore_for_inference(run, pipeline)))
    shards = list(map(Path, pipeline.eval_input_reader[0].tf_record_input_reader.input_path))
    reference, threshold = Reference.from_checkpoint(checkpoint, shards), source.threshold() or 0.5
    with progress_bars("model") as progress:
        table = measure_parity(reference, [model, *files], threshold, progress)
    rows = []
    for file in files:
        if file.suffix == ".tflite":
            with mediapipe_detector(file) as detector:
                row = parity.measure(detector, reference, threshold)
                milliseconds = parity.latency(detector, reference)
            rows.append({"model": f"{file.name} in MediaPipe", **row, "ms_1": milliseconds})
    table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    printed = Table()
    for column in table.columns:
        printed.add_column(column)
    for values in table.itertuples(index=False):
        printed.add_row(
            *(str(value if isinstance(value, str) else f"{value:.4g}") for value in values)
        )
    Console().print(printed)


if __name__ == "__main__":
    main()
