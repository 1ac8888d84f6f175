"""Compares the time and memory of `tfod convert` and the converter from tutorials.

  python tests/benchmarks/bench_convert.py --images 20000 --source SIGNS

SIGNS is a VOC folder with images/ and annotations/. Its images are repeated until there are enough;
a comment in each JPEG makes the copies different. Without --source, images of `tfod sample` are
used. Times are of complete processes, which run alternately.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from tfod.sample.sample import write_sample

HERE = Path(__file__).parent


def make_folder(source: Path, folder: Path, count: int) -> None:
    """Writes `count` different copies of the images in `source`, with their XML."""
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True)
    pairs = []
    for xml in sorted((source / "annotations").glob("*.xml")):
        image = source / "images" / f"{xml.stem}.jpg"
        if image.is_file():
            pairs.append((xml.read_text(), image.name, image.read_bytes()))
    for number, (xml, name, jpeg) in zip(range(count), itertools.cycle(pairs)):
        comment = b"\xff\xfe\x00\x0a%08d" % number
        copy = f"image{number:06d}"
        (folder / "images" / f"{copy}.jpg").write_bytes(jpeg[:2] + comment + jpeg[2:])
        text = xml.replace(f"<filename>{name}", f"<filename>{copy}.jpg")
        (folder / "annotations" / f"{copy}.xml").write_text(text)


def run(command: list) -> tuple[float, float]:
    """Runs a command. Returns its time in seconds and the memory of its largest process in MB."""
    start, peak = time.perf_counter(), 0
    process = psutil.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        for part in [process, *process.children(recursive=True)]:
            try:
                peak = max(peak, part.memory_info().rss)
            except psutil.Error:
                continue
        time.sleep(0.2)  # reading the memory more often would slow down the command
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{command} failed with exit code {process.returncode}")
    return seconds, peak / 1e6


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--images", default=700, show_default=True, help="Number of images.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--source", type=click.Path(path_type=Path, exists=True))
def main(images: int, rounds: int, source: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if source is None:
            source = work / "sample"
            write_sample(source, min(images, 700))
        make_folder(source, work / "voc", images)
        voc = [*("--annotations", work / "voc/annotations"), *("--images", work / "voc/images")]
        convert = [sys.executable, "-m", "tfod", "convert", *voc, "--output", work / "output"]
        commands = {
            "tutorial": [
                *(sys.executable, HERE / "tutorial_convert.py", work / "voc", work / "output")
            ],
            "tfod, headers verified": [*convert, "--verify", "headers"],
            "tfod, every image decoded": convert,
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                results[name].append(run(command))
                shutil.rmtree(work / "output")
    report(images, results)


def report(images: int, results: dict[str, list[tuple[float, float]]]) -> None:
    table = Table(title=f"{images} images, {os.cpu_count()} cores, medians")
    for heading in ("", "seconds", "times faster", "MB per process"):
        table.add_column(heading, justify="right" if heading else "left")
    base = statistics.median(seconds for seconds, _ in results["tutorial"])
    for name, runs in results.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        memory = max(peak for _, peak in runs)
        table.add_row(name, f"{seconds:.2f}", f"{base / seconds:.2f}", f"{memory:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
