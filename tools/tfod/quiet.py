"""Keeps the chatter of TensorFlow and the OD API off the terminal; real warnings stay."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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

    MLIR and LiteRT log there without heeding any log level.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
