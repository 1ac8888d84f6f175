"""A job for `beam_map`. It imports no test library, because its process uses other releases."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

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
