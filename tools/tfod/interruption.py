"""Ends a command at Ctrl-C with one line, at any moment, and with nothing half-written.

By default, Python raises KeyboardInterrupt wherever it is. In an import this may end in another
error, or in nothing, and the traceback is long.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType

MESSAGE = (
    "\ntfod: interrupted. Repeat the command: training (without --overwrite), downloads and "
    "--runner resume, other commands start again."
)
EXIT_CODE = 130  # as shells report a process that Ctrl-C has ended
RETRY = 0.05  # seconds

_active = {"cleanup": 0, "complete": 0}  # numbers of the blocks below


def handle_ctrl_c() -> None:
    """Lets Ctrl-C end this process, from now on. For the command line only."""
    if not hasattr(signal, "setitimer"):
        return  # Windows has no timers; there, Python's own handler stays
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)


def ignore_ctrl_c() -> None:
    """Ignores Ctrl-C from now on, because the process is about to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def cleanup() -> AbstractContextManager[None]:
    """In this block, Ctrl-C raises KeyboardInterrupt, so that the block can clean up."""
    return _counted("cleanup")


def complete() -> AbstractContextManager[None]:
    """In this block, Ctrl-C has no effect until its end."""
    return _counted("complete")


@contextmanager
def _counted(kind: str) -> Iterator[None]:
    _active[kind] += 1
    try:
        yield
    finally:
        _active[kind] -= 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _active["complete"] or (_active["cleanup"] and _is_importing(frame)):
        signal.setitimer(signal.ITIMER_REAL, RETRY)  # calls this function again
    elif _active["cleanup"]:
        ignore_ctrl_c()
        raise KeyboardInterrupt
    else:
        with suppress(OSError):  # the standard error output is closed
            os.write(2, f"{MESSAGE}\n".encode())
        os._exit(EXIT_CODE)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
