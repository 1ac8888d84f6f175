"""Work on many files in several processes or threads."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
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
from contextlib import contextmanager
from itertools import count, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 64  # items sent to a process at once: a few milliseconds of work


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """`function(item)` for each item, in order, worked out by processes a few chunks ahead.

    Few results are held at a time. `function` goes to each process once, so it may carry much
    (`functools.partial`); it, the items and the results are pickled. What is too little to share
    is done in this process.

    Args:
      workers: processes; None for one a processor.
    """
    workers = min(workers or os.cpu_count() or 1, -(-len(items) // CHUNK))
    if workers <= 1:
        yield from map(function, items)
        return
    with process_pool(workers, _keep, (function,)) as pool:
        chunks = (items[at : at + CHUNK] for at in range(0, len(items), CHUNK))
        ahead: deque[Future[list[Result]]] = deque()
        while True:
            for chunk in islice(chunks, 3 * workers - len(ahead)):
                ahead.append(pool.submit(_work, chunk))
            if not ahead:
                return
            yield from ahead.popleft().result()


def threaded_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """`function(item)` for each item, in order, worked out by threads a few items ahead.

    For functions that leave Python's lock to others most of the time, as decoders do. `items` may
    be endless: few are taken before their results are asked for.

    Args:
      workers: threads; None for one a processor.
    """
    workers = workers or os.cpu_count() or 1
    items = iter(items)
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                for item in islice(items, 2 * workers - len(ahead)):
                    ahead.append(pool.submit(function, item))
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def counted_map(
    function: Callable[[Item, Callable[[], None]], Result],
    items: Sequence[Item],
    on_count: Callable[[int], None],
    workers: int | None = None,
) -> list[Result]:
    """`function(item, tick)` for each of a few long items, worked out by processes.

    Args:
      function: calls `tick()` for each piece of its work that is done.
      on_count: called a few times a second with the number of pieces done in all processes.
      workers: processes; None for one a processor.
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers <= 1:
        numbers = count(1)
        return [function(item, lambda: on_count(next(numbers))) for item in items]
    counter = _context().Value("Q")
    with process_pool(workers, _keep, (function, counter)) as pool:
        futures = [pool.submit(_work_counted, item) for item in items]
        left = set(futures)
        while left:
            done, left = wait(left, timeout=0.2, return_when=FIRST_EXCEPTION)
            on_count(counter.value)
            if any(future.exception() for future in done):
                break
        return [future.result() for future in futures if future.done()]


def prepare_processes(module: str) -> None:
    """Begins to start what processes are started from, with `module` loaded, while work goes on.

    Processes then have it from the beginning. Loading it in each takes longer than converting a
    thousand pictures.
    """
    if _context().get_start_method() == "forkserver":
        _context().set_forkserver_preload([module])
        multiprocessing.forkserver.ensure_running()


@contextmanager
def process_pool(
    workers: int, initializer: Callable, arguments: tuple
) -> Iterator[ProcessPoolExecutor]:
    """Processes that leave Ctrl-C to this one and end when it ends, even by kill -9.

    Each calls `initializer(*arguments)` first.

    Started afresh rather than forked: this process may have threads, and a fork copies their
    locks as they happen to be.
    """
    pool = ProcessPoolExecutor(
        workers, _context(), initializer=_begin, initargs=(initializer, arguments)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _begin(initializer: Callable, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is wrong with a picture is reported as its fault; Pillow's remarks name no file.
    warnings.filterwarnings("ignore", module="PIL")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    initializer(*arguments)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


_function: Callable
_counter = None


def _keep(function: Callable, counter=None) -> None:
    global _function, _counter
    _function, _counter = function, counter


def _work(chunk: Sequence[Item]) -> list[Result]:
    return [_function(item) for item in chunk]


def _work_counted(item: Item) -> Result:
    return _function(item, _tick)


def _tick() -> None:
    with _counter.get_lock():
        _counter.value += 1
