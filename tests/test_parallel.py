"""Tests `parallel`: order, errors, counting, and that worker processes end with their parent."""

from __future__ import annotations

import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial

import pytest

from helpers.limits import scaled
from tfod.errors import BadFilesError, FileFault, UserError
from tfod.parallel import CHUNK, counted_map, ordered_map, prepare_processes

KILLED = (
    "--workers: a worker process was killed, perhaps because the memory is full. "
    "Free memory, or give a smaller number."
)


def negate(folder, item):
    """Records the call as a file, because it may be made in another process."""
    (folder / str(item)).touch()
    return -item, os.getpid()


def test_processes_return_results_in_order_and_work_a_few_chunks_ahead(tmp_path):
    items = range(40 * CHUNK)
    results = ordered_map(partial(negate, tmp_path), items, workers=2)
    first = next(results)
    assert len(list(tmp_path.iterdir())) < len(items) / 2
    results = [first, *results]
    assert [number for number, _ in results] == [-item for item in items]
    assert os.getpid() not in {process for _, process in results}


def test_one_chunk_is_computed_in_this_process(tmp_path):
    results = ordered_map(partial(negate, tmp_path), range(CHUNK), workers=8)
    assert {process for _, process in results} == {os.getpid()}


def fail(error, item):
    if item == CHUNK:
        raise error


@pytest.mark.parametrize(
    "error",
    [
        UserError("a.xml", "is bad", "Fix it"),
        FileFault("a.xml", "broken XML", "is bad", "Fix it"),
        BadFilesError("xml", [FileFault("a.xml", "broken XML", "is bad", "Fix it")]),
    ],
)
def test_errors_keep_their_attributes(error):
    with pytest.raises(type(error)) as caught:
        list(ordered_map(partial(fail, error), range(2 * CHUNK), workers=2))
    assert str(caught.value) == str(error)
    without_errors = {name: value for name, value in vars(error).items() if name != "errors"}
    assert vars(caught.value).items() >= without_errors.items()


def work(item, tick):
    for _ in range(item):
        tick()
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_finished_parts_are_counted_in_all_processes(workers):
    counts = []
    assert counted_map(work, [500, 1500, 1000], counts.append, workers) == [500, 1500, 1000]
    assert counts == sorted(counts) and counts[-1] == 3000


def kill_own_process(item, tick=None):
    if item == CHUNK:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    "work",
    [
        lambda: list(ordered_map(kill_own_process, range(4 * CHUNK), workers=2)),
        lambda: counted_map(kill_own_process, [0, CHUNK, 1], lambda count: None, workers=2),
    ],
    ids=["ordered", "counted"],
)
def test_killed_process_is_one_line(work):
    """The system kills a process if there is no memory left."""
    with pytest.raises(UserError) as caught:
        work()
    assert str(caught.value) == KILLED


def test_killed_fork_server_is_one_line():
    prepare_processes("tfod.parallel")
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGSTOP)  # so that it is killed while it should start a process
    threading.Timer(0.3, os.kill, (server, signal.SIGKILL)).start()
    with pytest.raises(UserError) as caught:
        list(ordered_map(len, ["a"] * 2 * CHUNK, workers=2))
    assert str(caught.value) == KILLED
    # Its connections close a moment before it ends. Until then, it counts as running.
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    assert list(ordered_map(len, ["a"] * 2 * CHUNK, workers=2)) == [1] * 2 * CHUNK


def sleep_long(folder, item):
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def test_processes_end_when_the_parent_is_killed(tmp_path):
    code = f"""
        from functools import partial
        from pathlib import Path
        from test_parallel import sleep_long
        from tfod.parallel import CHUNK, ordered_map

        if __name__ == "__main__":
            list(ordered_map(partial(sleep_long, Path({str(tmp_path)!r})), range(4 * CHUNK), 2))
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
    """Returns the first true value of `condition()`, or its last value after the time limit."""
    end = time.monotonic() + scaled(seconds)
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value
