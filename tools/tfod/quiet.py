"""Keeps the chatter of TensorFlow and the OD API off the terminal; real warnings stay."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

# What the OD API's age makes TensorFlow and Keras warn of on every run. None of it is anything the
# person at the terminal could act on.
NOISE = re.compile(
    "|".join(
        (
            r"is deprecated and will be removed",
            r"Model's `__init__\(\)` arguments contain non-serializable objects",
            r"Skipping full serialization of TF-Keras layer",
            # Batches come from one file or few; the OD API's default asks for 64 readers.
            r"num_readers has been reduced",
            # Said at the end, a line a variable, of a checkpoint that did not fit and was refused.
            r"deleted with unrestored values",
            r"Value in checkpoint could not be found in the restored object",
        )
    )
)


def quiet() -> None:
    """Silences the known chatter, and whatever is said for information only.

    For the command line. Libraries should leave logging to the program that uses them.
    """
    for name in ("tensorflow", "absl"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.addFilter(_matters)
    # `model_lib_v2.eager_train_step` still calls it, and tf_keras still obeys it.
    warnings.filterwarnings("ignore", message=r"`tf\.keras\.backend\.set_learning_phase`")
    # Where there is no GPU, TensorFlow's C++ calls it an error. What goes wrong there and matters
    # comes as an exception.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def _matters(record: logging.LogRecord) -> bool:
    return not NOISE.search(record.getMessage())


@contextmanager
def native_chatter_held() -> Iterator[None]:
    """Holds back what C++ writes to stderr, and lets it out if the block fails.

    MLIR and LiteRT log there and ignore every log level. The file descriptor belongs to the whole
    process, so blocks of several threads share one redirection: the first one starts it and the
    last one ends it.
    """
    _held.begin()
    try:
        yield
    except BaseException:
        _held.let_out()
        raise
    finally:
        _held.end()


class _HeldOutput:
    """File descriptor 2, redirected to a file while at least one block is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._stderr = -1
        self._file: IO[bytes] | None = None

    def begin(self) -> None:
        with self._lock:
            if self._blocks == 0:
                sys.stderr.flush()
                self._stderr = os.dup(2)
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  (the last block closes it)
                os.dup2(self._file.fileno(), 2)
            self._blocks += 1

    def let_out(self) -> None:
        """Writes to the real stderr what was held so far."""
        with self._lock:
            sys.stderr.flush()
            self._file.seek(0)
            os.write(self._stderr, self._file.read())
            self._file.truncate(0)
            self._file.seek(0)

    def end(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                sys.stderr.flush()
                os.dup2(self._stderr, 2)
                os.close(self._stderr)
                self._file.close()


_held = _HeldOutput()
