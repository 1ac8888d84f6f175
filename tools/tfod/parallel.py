"""Runs functions on many items in several processes or threads."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.resource_tracker
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeVar

from tfod import interruption
from tfod.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 64  # items sent to a process at once: a few milliseconds of work


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yields `function(item)` for each item, in order, computed by worker processes.

    The processes work a few chunks ahead, so few results are in memory at once. One chunk or less
    is computed in this process.

    Args:
      function: is pickled once per process, so it may contain large data (`functools.partial`).
        Items and results are pickled too.
      workers: number of processes; None for one per CPU.
    """
    workers = min(workers or os.cpu_count() or 1, -(-len(items) // CHUNK))
    if workers <= 1:
        yield from map(function, items)
        return
    with process_pool(workers, _set_function, (function,)) as pool:
        chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
        pending: deque[Future[list[Result]]] = deque()
        while True:
            for chunk in islice(chunks, 3 * workers - len(pending)):
                pending.append(_submit(pool, _apply_to_chunk, chunk))
            if not pending:
                return
            yield from pending.popleft().result()


def threaded_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yields `function(item)` for each item, in order, computed by threads.

    The threads work a few items ahead, so `items` may be endless.

    Args:
      function: should release the global interpreter lock most of the time, as decoders do.
      workers: number of threads; None for one per CPU.
    """
    workers = workers or os.cpu_count() or 1
    items = iter(items)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                for item in islice(items, 2 * workers - len(pending)):
                    pending.append(pool.submit(function, item))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def counted_map(
    function: Callable[[Item, Callable[[], None]], Result],
    items: Sequence[Item],
    on_count: Callable[[int], None],
    workers: int | None = None,
) -> list[Result]:
    """Returns `function(item, tick)` for each of a few large items, computed by worker processes.

    Args:
      function: calls `tick()` after each finished part of an item.
      on_count: called with the number of finished parts: a few times per second, or after each
        part if there is only one process.
      workers: number of processes; None for one per CPU.
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers <= 1:
        numbers = count(1)
        return [function(item, lambda: on_count(next(numbers))) for item in items]
    counter: Synchronized[int] = _context().Value("Q")
    with process_pool(workers, _set_function, (function, counter)) as pool:
        futures: list[Future[Result]] = [_submit(pool, _apply_counted, item) for item in items]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            on_count(counter.value)
            if any(future.exception() for future in done):
                break
        return [future.result() for future in futures if future.done()]


def prepare_processes(module: str) -> None:
    """Starts the fork server in the background and lets it import `module`.

    Worker processes are forked from it. Without this, each of them imports the module, which takes
    longer than converting a thousand images.
    """
    if _context().get_start_method() == "forkserver":
        _context().set_forkserver_preload([module])
        _start_server()


@contextmanager
def process_pool(
    workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool of processes that ignore Ctrl-C and end with this process, even after kill -9.

    They are not forked from this process: it may have threads, and a fork copies locks that they
    hold.

    Args:
      workers: number of processes.
      initializer: called as `initializer(*arguments)` when a process starts.

    Raises:
      UserError: a process was killed.
    """
    _start_server()
    pool = ProcessPoolExecutor(
        workers, _context(), initializer=_initialize, initargs=(initializer, arguments)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise _killed() from error
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, function: Callable[..., Result], item: object) -> Future:
    try:
        with interruption.complete():  # starts the processes; half-started, it would hang
            return pool.submit(function, item)
    except (EOFError, OSError) as error:  # the fork server cannot start a process
        raise _killed() from error


def _killed() -> UserError:
    what = "a worker process was killed, perhaps because the memory is full"
    return UserError("--workers", what, "Free memory, or give a smaller number")


def _context() -> multiprocessing.context.BaseContext:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _start_server() -> None:
    """Starts the fork server, unless it runs, so that Ctrl-C in a terminal does not end it."""
    if _context().get_start_method() != "forkserver":
        return
    multiprocessing.resource_tracker.ensure_running()  # if it has to start, it changes the mask
    # The server and the workers inherit the mask.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _initialize(initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Faults of an image are reported with its path; Pillow's warnings name no file.
    warnings.filterwarnings("ignore", module="PIL")
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker process
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    initializer(*arguments)


def _exit_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


# State of a worker process.
_function: Callable[..., Any]
_counter: Synchronized[int] | None = None


def _set_function(function: Callable[..., Any], counter: Synchronized[int] | None = None) -> None:
    global _function, _counter
    _function, _counter = function, counter


def _apply_to_chunk(chunk: Sequence[Any]) -> list[Any]:
    return [_function(item) for item in chunk]


def _apply_counted(item: object) -> Any:
    return _function(item, _tick)


def _tick() -> None:
    assert _counter is not None  # set by `counted_map`
    with _counter.get_lock():
        _counter.value += 1
