"""Compares the runtimes that can run an export: accuracy, boxes, size and time per image.

  python tests/benchmarks/bench_runtimes.py --run runs/signs --model exported_models/signs

The reference is the checkpoint of the run, on 50 images of its val split, as in `parity.csv`. All
runtimes are measured one after the other. MediaPipe gives boxes in whole pixels. The rows "in a
browser" need Chromium: they are those of MediaPipe as WebAssembly, which `tfod live` uses.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import click
import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table

from tfod.detection.detector import Detector, detector_of
from tfod.detection.tflite_file import read_tflite
from tfod.export import parity
from tfod.export.parity import Reference, measure_parity
from tfod.live.site import fetch_mediapipe, serve, write_site
from tfod.model.checkpoint import restore_for_inference
from tfod.model.detection_function import detection_function
from tfod.model.pipeline import read_pipeline, set_input_size
from tfod.model.run_folder import RunFolder
from tfod.progress import progress_bars

sys.path.append(str(Path(__file__).parents[1]))

from browser import CHROMIUM, browser

# (score, class name, xmin, ymin, width, height in pixels)
Row = tuple[float, str, float, float, float, float]
MOST, LOWEST = 100, 0.02  # detections; their score
PAGE = """<script type="module">
import { FilesetResolver, ObjectDetector } from "./vision/vision_bundle.mjs";
const files = await FilesetResolver.forVisionTasks("./vision/wasm");
const detector = await ObjectDetector.createFromOptions(files, {
  baseOptions: { modelAssetPath: "./models/0.tflite", delegate: "CPU" },
  maxResults: %d, scoreThreshold: %g,
});
window.detect = async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const started = performance.now();
  const found = detector.detect(image).detections;
  const milliseconds = performance.now() - started;
  const rows = found.map(({ categories: [best], boundingBox: box }) =>
    [best.score, best.categoryName, box.originX, box.originY, box.width, box.height]);
  return JSON.stringify({ milliseconds, rows });
};
</script>"""


def outputs_of(rows: list[Row], labels: dict[int, str], pixels: np.ndarray) -> dict:
    """Returns detections as the outputs of a model."""
    ids = {name: class_id for class_id, name in labels.items()}
    height, width = pixels.shape[:2]
    rows = sorted(rows, key=lambda row: -row[0])
    boxes = [
        [y / height, x / width, (y + high) / height, (x + wide) / width]
        for _, _, x, y, wide, high in rows
    ]
    return {
        "detection_boxes": np.array([boxes], np.float32).reshape(1, -1, 4),
        "detection_scores": np.array([[row[0] for row in rows]], np.float32),
        "detection_classes": np.array([[ids[row[1]] for row in rows]], np.float32),
        "num_detections": np.array([len(rows)], np.float32),
    }


@contextmanager
def browser_detector(path: Path) -> Iterator[tuple[Detector, list[float]]]:
    """Loads a `.tflite` into a page in headless Chromium, as `tfod live` does.

    Yields:
      The detector, and the milliseconds of each of its images so far, without the transfer to the
      page.
    """
    labels, times = read_tflite(path).labels, []
    with tempfile.TemporaryDirectory() as folder:
        write_site([path], Path(folder), fetch_mediapipe())
        Path(folder, "parity.html").write_text(PAGE % (MOST, LOWEST))
        address: Queue[str] = Queue()
        arguments = (Path(folder), "127.0.0.1", 0, address.put)
        threading.Thread(target=serve, args=arguments, daemon=True).start()
        with browser() as page:
            page.send("Page.navigate", url=f"{address.get()}parity.html")
            page.wait_for("window.detect !== undefined")

            def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
                encoded = io.BytesIO()
                Image.fromarray(pixels).save(encoded, "PNG")
                url = f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"
                found = json.loads(page.value(f"detect({json.dumps(url)})"))
                times.append(found["milliseconds"])
                return outputs_of(found["rows"], labels, pixels)

            yield Detector(labels, model), times


@contextmanager
def mediapipe_detector(path: Path) -> Iterator[Detector]:
    """Loads a `.tflite` into MediaPipe Tasks, with one CPU thread as MediaPipe chooses."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions

    labels = read_tflite(path).labels
    options = ObjectDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(path)),
        max_results=MOST,
        score_threshold=LOWEST,
    )

    def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
        rows = [
            (
                category.score,
                category.category_name,
                box.origin_x,
                box.origin_y,
                box.width,
                box.height,
            )
            for detection in detector.detect(image).detections
            for box in [detection.bounding_box]
            for category in detection.categories
        ]
        return outputs_of(rows, labels, pixels)

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
        if file.suffix == ".tflite" and CHROMIUM:
            with browser_detector(file) as (detector, times):
                row = parity.measure(detector, reference, threshold)
                milliseconds = float(np.median(times))
            rows.append({"model": f"{file.name} in a browser", **row, "ms_1": milliseconds})
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
