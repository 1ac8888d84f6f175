"""Times `tfod convert` against the converter of the tutorials: whole processes, side by side.

  python tests/benchmarks/bench_convert.py --pictures 20000 --source SIGNS

SIGNS is a VOC folder with images/ and annotations/, whose pictures are repeated (each made another
by a comment in its JPEG) until there are enough; without it, scenes of `tfod sample` are.
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
    """Writes `count` pictures with their XML, like those of the source and all different."""
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True)
    pairs = []
    for xml in sorted((source / "annotations").glob("*.xml")):
        picture = source / "images" / f"{xml.stem}.jpg"
        if picture.is_file():
            pairs.append((xml.read_text(), picture.name, picture.read_bytes()))
    for number, (xml, name, jpeg) in zip(range(count), itertools.cycle(pairs)):
        comment = b"\xff\xfe\x00\x0a%08d" % number
        copy = f"picture{number:06d}"
        (folder / "images" / f"{copy}.jpg").write_bytes(jpeg[:2] + comment + jpeg[2:])
        text = xml.replace(f"<filename>{name}", f"<filename>{copy}.jpg")
        (folder / "annotations" / f"{copy}.xml").write_text(text)


def run(command: list) -> tuple[float, float]:
    """Seconds a command takes, and the largest memory in MB that one of its processes held."""
    start, peak = time.perf_counter(), 0
    process = psutil.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        for part in [process, *process.children(recursive=True)]:
            try:
                peak = max(peak, part.memory_info().rss)
            except psutil.Error:
                continue
        time.sleep(0.2)  # looking takes time from what is looked at
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return seconds, peak / 1e6


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--pictures", default=700, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--source", type=click.Path(path_type=Path, exists=True))
def main(pictures: int, rounds: int, source: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if source is None:
            source = work / "sample"
            write_sample(source, min(pictures, 700))
        make_folder(source, work / "voc", pictures)
        voc = [*("--annotations", work / "voc/annotations"), *("--images", work / "voc/images")]
        ours = [sys.executable, "-m", "tfod", "convert", *voc, "--output", work / "output"]
        ways = {
            "tutorial": [
                *(sys.executable, HERE / "tutorial_convert.py", work / "voc", work / "output")
            ],
            "tfod, headers verified": [*ours, "--verify", "headers"],
            "tfod, every picture decoded": ours,
        }
        seen = {name: [] for name in ways}
        for _ in range(rounds):
            for name, command in ways.items():
                seen[name].append(run(command))
                shutil.rmtree(work / "output")
    report(pictures, seen)


def report(pictures: int, seen: dict[str, list[tuple[float, float]]]) -> None:
    table = Table(title=f"{pictures} pictures, {os.cpu_count()} cores, medians")
    for heading in ("", "seconds", "times as fast", "MB a process"):
        table.add_column(heading, justify="right" if heading else "left")
    base = statistics.median(seconds for seconds, _ in seen["tutorial"])
    for name, runs in seen.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        memory = max(peak for _, peak in runs)
        table.add_row(name, f"{seconds:.2f}", f"{base / seconds:.2f}", f"{memory:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
