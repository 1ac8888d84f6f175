"""Measures `tfod predict --track` on a long synthetic video: stable numbers, memory and time.

  python tests/benchmarks/bench_track.py --model exported_models/demo/model.tflite --minutes 10

Signs of `tfod sample` move to and fro, each in its own row, and stay in view. IDF1 (Ristani
et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016) is the
share of objects and detections that one-to-one pairs of true and reported numbers explain.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import av
import click
import numpy as np
import psutil
from PIL import Image
from trackers.eval.identity import compute_identity_metrics

from tfod.evaluation.error_analysis import iou
from tfod.sample.scene import make_scene

SEED = 77  # not one of `tfod sample`'s default
RATE = 30
SIZE = (640, 480)
SMALLEST, LARGEST = 48, 90  # pixels, of the signs


def height_of(rows: int) -> float:
    """Returns the height of a row in pixels."""
    return SIZE[1] / rows


def moving_signs(number: int, height: float) -> Iterator[Image.Image]:
    """Yields signs cut out of scenes, complete and large enough to be detected."""
    index = found = 0
    while found < number:
        index += 1
        image, boxes = make_scene(SEED, index)
        for box in boxes:
            xmin, ymin, xmax, ymax = box.corners
            is_large = min(xmax - xmin, ymax - ymin) >= SMALLEST
            if is_large and not box.truncated and found < number:
                found += 1
                sign = image.crop((xmin, ymin, xmax, ymax))
                sign.thumbnail((LARGEST, min(LARGEST, height)))
                yield sign


def empty_street() -> Image.Image:
    """Returns a scene without signs."""
    scenes = (make_scene(SEED, index) for index in count())
    return next(image for image, boxes in scenes if not boxes).resize(SIZE)


def write_video(path: Path, frames: int, rows: int, per_row: int) -> list[np.ndarray]:
    """Writes the video; returns the true boxes of each frame, `[N, 4]` xyxy in pixels."""
    rng = np.random.default_rng(SEED)
    number_of_signs = rows * per_row
    street, signs = empty_street(), list(moving_signs(number_of_signs, height_of(rows)))
    sizes = np.array([sign.size for sign in signs])
    width, height = SIZE
    top = np.arange(number_of_signs) % rows * height_of(rows)
    space = np.stack([width - sizes[:, 0], height_of(rows) - sizes[:, 1]], axis=1)
    speed, phase = rng.uniform(0.2, 0.7, sizes.shape), rng.uniform(0, 7, sizes.shape)
    truth = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.bit_rate = width, height, 4_000_000
        for number in range(frames):
            place = space * (0.5 + 0.5 * np.sin(speed * number / RATE + phase))
            corner = (place + np.stack([0 * top, top], axis=1)).astype(int)
            image = street.copy()
            for sign, (x, y) in zip(signs, corner.tolist(), strict=True):
                image.paste(sign, (x, y))
            truth.append(np.hstack([corner, corner + sizes]))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return truth


def read_tracks(path: Path, frames: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the boxes `[N, 4]` xyxy in pixels and the track ids `[N]` of each frame."""
    rows: list[list[list[float]]] = [[] for _ in range(frames)]
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            values = [row[name] for name in ("xmin", "ymin", "xmax", "ymax", "track_id")]
            rows[int(row["frame"])].append([float(value) for value in values])
    tables = [np.array(row, float).reshape(-1, 5) for row in rows]
    return [table[:, :4] for table in tables], [table[:, 4].astype(int) for table in tables]


def predict(model: Path, video: Path, output: Path) -> tuple[float, list[float]]:
    """Runs `tfod predict --track`; returns its seconds, and its memory in MB every five seconds."""
    command = [sys.executable, "-m", "tfod", "predict", "--model", model, video, "--track"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--csv", output], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    memory = []
    while True:
        try:
            if process.wait(timeout=5):
                raise click.ClickException("tfod predict failed")
            return time.perf_counter() - start, memory
        except subprocess.TimeoutExpired:
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", type=float, default=10, show_default=True, help="Of the video.")
@click.option("--rows", type=int, default=6, show_default=True, help="In which signs move.")
@click.option(
    "--per-row", type=int, default=1, show_default=True, help="Signs; two hide each other at times."
)
def main(model: Path, minutes: float, rows: int, per_row: int) -> None:
    frames = round(minutes * 60 * RATE)
    with tempfile.TemporaryDirectory() as folder:
        video, table = Path(folder, "signs.mp4"), Path(folder, "tracks.csv")
        truth = write_video(video, frames, rows, per_row)
        seconds, memory = predict(model, video, table)
        boxes, tracks = read_tracks(table, frames)
    overlaps = [iou(true, found) for true, found in zip(truth, boxes, strict=True)]
    metrics = compute_identity_metrics([np.arange(len(true)) for true in truth], tracks, overlaps)
    objects, numbers = len(truth[0]), len(np.unique(np.concatenate(tracks)))
    print(f"{frames} frames with {objects} objects: {numbers} numbers")
    print(f"IDF1 {metrics['IDF1']:.3f}, IDR {metrics['IDR']:.3f}, IDP {metrics['IDP']:.3f}")
    third = max(1, len(memory) // 3)
    early, late = max(memory[:third]), max(memory[-third:])
    print(f"memory: {early:.0f} MB in the first third, {late:.0f} MB in the last")
    print(f"{1000 * seconds / frames:.1f} ms per frame")


if __name__ == "__main__":
    main()
