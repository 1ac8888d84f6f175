"""Hides log output of TensorFlow and the OD API that the user cannot act on; keeps warnings."""

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

# Warnings that the old code of the OD API triggers in every run.
NOISE = re.compile(
    "|".join(
        (
            r"is deprecated and will be removed",
            r"Model's `__init__\(\)` arguments contain non-serializable objects",
            r"Skipping full serialization of TF-Keras layer",
            # The OD API's default is 64 readers, more than there are files.
            r"num_readers has been reduced",
            # At exit, one line per variable, for a checkpoint that was already reported as unfit.
            r"deleted with unrestored values",
            r"Value in checkpoint could not be found in the restored object",
        )
    )
)


def quiet() -> None:
    """Hides known noise and info messages.

    For the command line only: a library leaves logging to the program that uses it.
    """
    for name in ("tensorflow", "absl"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.addFilter(_is_relevant)
    # It logs what it then raises.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    # `model_lib_v2.eager_train_step` still calls it, and tf_keras still supports it.
    warnings.filterwarnings("ignore", message=r"`tf\.keras\.backend\.set_learning_phase`")
    # TensorFlow's C++ code logs a missing GPU as an error. Real failures raise exceptions.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def _is_relevant(record: logging.LogRecord) -> bool:
    return not NOISE.search(record.getMessage())


@contextmanager
def hide_native_logs() -> Iterator[None]:
    """Hides what C++ code writes to stderr inside the block, unless the block fails.

    MLIR and LiteRT log to stderr and ignore all log levels. The file descriptor belongs to the
    whole process, so the blocks of several threads share one redirection: the first block starts
    it, the last one ends it.
    """
    _capture.begin()
    try:
        yield
    except BaseException:
        _capture.release()
        raise
    finally:
        _capture.end()


class _StderrCapture:
    """File descriptor 2, redirected to a temporary file while at least one block is open."""

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

    def release(self) -> None:
        """Writes the captured output to the real stderr."""
        with self._lock:
            assert self._file is not None, "no block is open"
            sys.stderr.flush()
            self._file.seek(0)
            os.write(self._stderr, self._file.read())
            self._file.truncate(0)
            self._file.seek(0)

    def end(self) -> None:
        with self._lock:
            assert self._file is not None, "no block is open"
            self._blocks -= 1
            if self._blocks == 0:
                sys.stderr.flush()
                os.dup2(self._stderr, 2)
                os.close(self._stderr)
                self._file.close()


_capture = _StderrCapture()
