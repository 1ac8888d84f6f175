"""A job for `beam_map`. It imports no test library, because its process uses other releases."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

from tfod import beam
from tfod.beam import Cluster, beam_map

ITEMS = 10
CHUNK = 3


def compute(folder: Path, item: int) -> int:
    """Returns the square, after a line in `folder`/log; kills its process at `folder`/stop."""
    if (folder / "stop").read_text() == str(item):
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / "log").open("a") as log:
        log.write(f"{item}\n")
    return item**2


def run(folder: str) -> None:
    """Prints the squares of all items, in order."""
    function = partial(compute, Path(folder))
    cluster = Cluster(["--runner=DirectRunner"], Path(folder))
    files = [Path(folder) / "input"]
    print(*beam_map(function, range(ITEMS), cluster, chunk=CHUNK, files=files))


def wait(item: int) -> None:
    """An item that takes a while."""
    time.sleep(0.05)


def show_progress(folder: str) -> None:
    """Prints how many items are done at each report, while items are computed."""
    beam.INTERVAL = 0.01
    done: list[int] = []

    def report(stage: str, items: int, total: int | None) -> None:
        assert (stage, total) == ("on the cluster", ITEMS)
        done.append(items)

    cluster = Cluster(["--runner=DirectRunner"], Path(folder))
    list(beam_map(wait, range(ITEMS), cluster, chunk=CHUNK, progress=report))
    print(*dict.fromkeys(done))
