"""Measures the time of complete Python processes, and prints tables that compare times."""

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
    """Runs Python with these arguments. Returns its time in seconds and its output.

    Raises:
      SystemExit: the process failed; with its error output.
    """
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if result.returncode:
        raise SystemExit(result.stderr)
    return time.perf_counter() - started, result.stdout


def print_medians(
    title: str, unit: str, values: Mapping[str, Sequence[float]], more_is_better: bool = False
) -> None:
    """Prints the median of each candidate's values, compared with the first candidate."""
    table = Table(title=f"{title}, {os.cpu_count()} cores, medians")
    for heading in ("", unit, "times faster"):
        table.add_column(heading, justify="right" if heading else "left")
    medians = {name: statistics.median(runs) for name, runs in values.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        ratio = median / first if more_is_better else first / median
        table.add_row(name, f"{median:.2f}", f"{ratio:.2f}")
    Console().print(table)
