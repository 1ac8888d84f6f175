"""Keeps the chatter of TensorFlow and the OD API off the terminal; errors stay."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet() -> None:
    """Silences what TensorFlow and the OD API log below errors.

    For the command line. Libraries should leave logging to the program that uses them.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    # `model_lib_v2.eager_train_step` still calls it, and tf_keras still obeys it.
    warnings.filterwarnings("ignore", message=r"`tf\.keras\.backend\.set_learning_phase`")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


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
