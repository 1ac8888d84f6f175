"""Commands as a user starts them, timed from outside, and a table of who was how much faster."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table


def run_python(*arguments: object) -> tuple[float, str]:
    """Seconds that Python took with these arguments, and what it printed; ends all if it failed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started, done.stdout


def print_medians(
    title: str, unit: str, seen: Mapping[str, Sequence[float]], more_is_better: bool = False
) -> None:
    """A row each, held against the first."""
    table = Table(title=f"{title}, {os.cpu_count()} cores, medians")
    for heading in ("", unit, "times faster"):
        table.add_column(heading, justify="right" if heading else "left")
    medians = {name: statistics.median(each) for name, each in seen.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        times = median / first if more_is_better else first / median
        table.add_row(name, f"{median:.2f}", f"{times:.2f}")
    Console().print(table)
