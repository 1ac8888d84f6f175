"""Compares `tfod train --pipeline auto` with templates and configs, in the same minutes.

  python tests/benchmarks/bench_auto.py --data data/signs --init mobilenet_v2.ckpt-1 \\
    --minutes 60 --output runs/bench ssd_mobilenet_v2_fpnlite_320x320 my/pipeline.config

Trains one run after another, with class balance, and evaluates each on the test split, at the
threshold that was best on the val split. A repeated command resumes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table


def train_and_evaluate(name: str, options: list[object], data: Path, output: Path) -> list[str]:
    """Returns a row of the table."""
    tfod = [sys.executable, "-m", "tfod"]
    train = [*tfod, "train", "--data", data, "--output", output, *options]
    subprocess.run([*map(str, train)], check=True)
    evaluate = [*tfod, "evaluate", "--run", output, "--data", data, "--split", "test"]
    subprocess.run([*map(str, evaluate)], check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads((output / "metrics.json").read_text())
    objects, coco = metrics["objects"], metrics["coco"]
    return [
        name,
        f"{coco['AP']:.3f}",
        f"{coco['AP50']:.3f}",
        f"{metrics['identified'] / objects:.1%}",
        f"{metrics['false'] / objects:.1%}",
        f"{metrics['threshold']:.2f}",
    ]


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--init", required=True, help="As for tfod train.")
@click.option("--minutes", type=float, default=60, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="For the runs.")
@click.argument("pipelines", nargs=-1)
def main(data: Path, init: str, minutes: float, output: Path, pipelines: tuple[str, ...]) -> None:
    table = Table(title=f"{data.name}, test split, {minutes:g} minutes")
    for heading in ("pipeline", "AP", "AP50", "identified", "false", "threshold"):
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    for pipeline in ("auto", *pipelines):
        name = Path(pipeline).parent.name if pipeline.endswith(".config") else pipeline
        balance = [] if pipeline == "auto" else ["--balance"]
        options = ["--pipeline", pipeline, "--init", init, "--minutes", minutes, *balance]
        table.add_row(*train_and_evaluate(name, options, data, output / name))
    Console().print(table)


if __name__ == "__main__":
    main()
