"""Work in processes: order, errors, counting, and that nothing outlives the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest

from tfod.errors import BadFilesError, FileFault, UserError
from tfod.parallel import CHUNK, counted_map, ordered_map


def negative(started, item):
    """Leaves a trace of each call, since the calls are in other processes."""
    (started / str(item)).touch()
    return -item, os.getpid()


def test_results_come_in_order_from_processes_a_few_chunks_ahead(tmp_path):
    items = range(40 * CHUNK)
    results = ordered_map(partial(negative, tmp_path), items, workers=2)
    first = next(results)
    assert len(list(tmp_path.iterdir())) < len(items) / 2
    results = [first, *results]
    assert [number for number, _ in results] == [-item for item in items]
    assert os.getpid() not in {process for _, process in results}


def test_little_work_is_done_here(tmp_path):
    results = ordered_map(partial(negative, tmp_path), range(CHUNK), workers=8)
    assert {process for _, process in results} == {os.getpid()}


def refuse(error, item):
    if item == CHUNK:
        raise error


@pytest.mark.parametrize(
    "error",
    [
        UserError("a.xml", "is bad", "Mend it"),
        FileFault("a.xml", "broken XML", "is bad", "Mend it"),
        BadFilesError("xml", [FileFault("a.xml", "broken XML", "is bad", "Mend it")]),
    ],
)
def test_errors_come_through_whole(error):
    with pytest.raises(type(error)) as caught:
        list(ordered_map(partial(refuse, error), range(2 * CHUNK), workers=2))
    assert str(caught.value) == str(error)
    without_errors = {name: value for name, value in vars(error).items() if name != "errors"}
    assert vars(caught.value).items() >= without_errors.items()


def work(item, tick):
    for _ in range(item):
        tick()
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_pieces_are_counted_over_all_processes(workers):
    counts = []
    assert counted_map(work, [500, 1500, 1000], counts.append, workers) == [500, 1500, 1000]
    assert counts == sorted(counts) and counts[-1] == 3000


def wait_long(folder, item):
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def test_processes_end_with_a_killed_parent(tmp_path):
    code = f"""
        from functools import partial
        from pathlib import Path
        from test_parallel import wait_long
        from tfod.parallel import CHUNK, ordered_map

        if __name__ == "__main__":
            list(ordered_map(partial(wait_long, Path({str(tmp_path)!r})), range(4 * CHUNK), 2))
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, script], env=env)
    started = wait_for(
        lambda: [int(path.name) for path in tmp_path.iterdir() if path.stem.isdigit()]
    )
    assert started
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_for(lambda: not any(map(is_running, started)))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=20):
    """The first true value of `condition()`, or its last value when time is up."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value
