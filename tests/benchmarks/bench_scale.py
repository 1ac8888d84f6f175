"""Measures CPU time and peak memory of the commands for a data set of any size.

  python tests/benchmarks/bench_scale.py --annotations roadsign/annotations --images 100000

The images are small and have little detail, and each is different. Their boxes are those of real
annotations, which repeat. The detector is a small CNN. Time is that of all CPU cores, memory that
of all processes of a command together (PSS: pages that processes share count once). The folder of
`--output` is kept, and commands that it has figures of are not repeated.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import click
import numpy as np
import psutil
from lxml import etree
from PIL import Image
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from tfod.dataset.manifest import load_dataset
from tfod.dataset.records import read_records
from tfod.detection.coco_results import entries_file, result_entries
from tfod.detection.detections import Detections

SIZE = (96, 72)  # width and height of the images in pixels
GRID = (12, 9)  # random colors in an image, between which it is interpolated
PER_FOLDER = 10_000  # files
LEAST = 5  # pixels, of a box
STEPS = 20  # of a training
EVALUATED, DETECTIONS = 50_000, 100  # images of --detections, and detections in each
INTERVAL = 2  # seconds between two measurements


class Objects(NamedTuple):
    """The ground truth of an image.

    Attributes:
      names: class names.
      boxes: float `[N, 4]`, xmin, ymin, xmax, ymax, normalized.
    """

    names: list[str]
    boxes: np.ndarray


def read_objects(annotations: Path) -> list[Objects]:
    """Reads the objects of PASCAL VOC files."""
    images = []
    for path in sorted(annotations.glob("*.xml")):
        tree = etree.parse(path)
        size = [float(tree.findtext(f"size/{name}")) for name in ("width", "height")]
        corners = ("xmin", "ymin", "xmax", "ymax")
        boxes = [
            [float(box.findtext(f"bndbox/{name}")) for name in corners]
            for box in tree.iter("object")
        ]
        names = [box.findtext("name") for box in tree.iter("object")]
        images.append(Objects(names, np.array(boxes).reshape(-1, 4) / [*size, *size]))
    return images


def write_images(annotations: Path, images: int, folder: Path) -> None:
    """Writes images and their PASCAL VOC files."""
    rng = np.random.default_rng(0)
    objects = cycle(read_objects(annotations))
    for index in tqdm(range(images), unit="image"):
        part = f"{index // PER_FOLDER:04d}"
        for kind in ("images", "annotations"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        name = f"{index:07d}"
        colors = rng.integers(0, 256, (GRID[1], GRID[0], 3), np.uint8)
        image = Image.fromarray(colors).resize(SIZE, Image.Resampling.BILINEAR)
        image.save(folder / "images" / part / f"{name}.jpg", quality=60)
        text = voc(f"{name}.jpg", next(objects))
        (folder / "annotations" / part / f"{name}.xml").write_text(text)


def voc(filename: str, objects: Objects) -> str:
    """Returns a PASCAL VOC file of an image of `SIZE`."""
    width, height = SIZE
    parts = [f"<annotation><filename>{filename}</filename>"]
    parts.append(f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>")
    boxes = np.round(objects.boxes * [*SIZE, *SIZE]).astype(int)
    for name, (xmin, ymin, xmax, ymax) in zip(objects.names, boxes.tolist(), strict=True):
        xmin, ymin = min(xmin, width - LEAST), min(ymin, height - LEAST)
        xmax, ymax = max(xmax, xmin + LEAST), max(ymax, ymin + LEAST)
        corners = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
        box = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
        parts.append(f"<object><name>{escape(name)}</name><bndbox>{box}</bndbox></object>")
    return "".join([*parts, "</annotation>\n"])


def measure(command: Sequence[object], log: Path) -> tuple[float, float]:
    """Runs `tfod`; returns CPU seconds and peak memory in GB of all its processes."""
    with log.open("w") as output:
        process = psutil.Popen(
            [sys.executable, "-m", "tfod", *map(str, command)], stdout=output, stderr=output
        )
        seconds, peak = watch(process)
    if process.wait():
        raise click.ClickException(f"tfod {command[0]} failed, see {log}")
    return seconds, peak / 1e9


def watch(process: psutil.Process) -> tuple[float, int]:
    """Returns the CPU seconds and the peak memory in bytes of a process and its children.

    Worker processes belong to a fork server, so that the system does not add up their times.
    """
    seconds: dict[int, float] = {}
    peak = 0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        memory = 0
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            for one in (process, *process.children(recursive=True)):
                times = one.cpu_times()
                seconds[one.pid] = times.user + times.system
                memory += one.memory_full_info().pss
        peak = max(peak, memory)
        time.sleep(INTERVAL)
    return sum(seconds.values()), peak


def write_detections(data: Path, split: str, file: Path) -> None:
    """Writes `DETECTIONS` random detections for each of up to `EVALUATED` images of a split."""
    rng = np.random.default_rng(0)
    dataset = load_dataset(data)
    shards = dataset.split(split).shards
    with file.open("w") as output, entries_file(output) as write:
        for record in islice(read_records(shards), EVALUATED):
            corners = rng.uniform(size=(DETECTIONS, 2, 2))
            corners.sort(axis=1)
            boxes = corners.reshape(-1, 4)
            ids = rng.choice(list(dataset.classes), DETECTIONS)
            scores = np.sort(rng.random(DETECTIONS))[::-1]
            names = tuple(dataset.classes[class_id] for class_id in ids.tolist())
            detections = Detections(boxes, scores, ids, names)
            write(result_entries(record.annotation.source_id, *SIZE, detections))


def commands(folder: Path) -> Iterator[tuple[str, list[object]]]:
    """Yields the name and the arguments of each measured command, in order."""
    data, run, random = folder / "data", folder / "run", folder / "random.json"
    yield (
        "convert",
        [
            *("convert", "--annotations", folder / "annotations"),
            *("--images", folder / "images", "--output", data),
        ],
    )
    yield "inspect", ["inspect", data, "--output", folder / "page"]
    yield "plan", ["plan", "--data", data]
    train = ["train", "--data", data, "--output", run, "--pipeline", "simple_cnn"]
    train += ["--init", "scratch", "--input-size", 64, "--eval-every", 2 * STEPS]
    yield "train, 20 steps", [*train, "--steps", STEPS]
    yield "train, resumed for 20 more", [*train, "--steps", 2 * STEPS]
    yield "evaluate", ["evaluate", "--run", run, "--data", data]
    yield (
        "evaluate --output",
        ["evaluate", "--run", run, "--data", data, "--output", folder / "report"],
    )
    yield "predict", ["predict", "--model", run, folder / "images", "--csv", folder / "all.csv"]
    yield "compare", ["compare", run, "--data", data, "--output", folder / "comparison"]
    if not random.exists():
        write_detections(data, "train", random)
    yield (
        "evaluate --detections",
        ["evaluate", "--data", data, "--split", "train", "--detections", random],
    )


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--annotations", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(annotations: Path, images: int, output: Path) -> None:
    results = output / "results.json"
    if not results.exists():
        write_images(annotations, images, output)
        results.write_text("{}")
    figures = json.loads(results.read_text())
    for name, command in commands(output):
        if name not in figures:
            figures[name] = measure(command, output / "command.log")
            results.write_text(json.dumps(figures))
            print(name, figures[name], flush=True)
    table = Table(title=f"{images:,} images")
    for heading in ("command", "CPU seconds", "ms per image", "peak memory, GB"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for name, (seconds, memory) in figures.items():
        table.add_row(name, f"{seconds:.0f}", f"{1000 * seconds / images:.2f}", f"{memory:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
