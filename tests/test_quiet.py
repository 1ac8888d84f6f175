"""Tests `tfod.quiet`: which log output is hidden."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from tfod.quiet import hide_native_logs, quiet


@pytest.fixture
def loggers():
    """The loggers of TensorFlow and absl, restored after the test."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    before = [(logger.level, logger.propagate, list(logger.filters)) for logger in loggers]
    yield loggers
    for logger, (level, propagate, filters) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.filters[:] = filters


def test_deprecations_are_hidden_and_other_warnings_are_kept(loggers, caplog):
    quiet()
    quiet()
    for logger in loggers:
        logger.propagate = True
        logger.info("building the model")
        logger.warning("From %s: cond is deprecated and will be removed in a future version.", "x")
        logger.warning("Skipping full serialization of TF-Keras layer <Lambda>, not built.")
        logger.warning("Value in checkpoint could not be found in the restored object: (root).step")
        logger.warning("The checkpoint contains %d unused values", 3)
    assert [record.getMessage() for record in caplog.records] == [
        "The checkpoint contains 3 unused values"
    ] * 2


def test_native_output_is_printed_on_failure(capfd):
    with hide_native_logs():
        os.write(2, b"loading\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError), hide_native_logs():
        os.write(2, b"cannot load\n")
        raise ValueError
    assert capfd.readouterr().err == "cannot load\n"


def test_stderr_works_after_overlapping_blocks_of_several_threads(capfd):
    first_is_closed, all_are_open = threading.Event(), threading.Barrier(4)

    def work(number: int) -> None:
        with hide_native_logs():
            all_are_open.wait(timeout=10)
            if number:
                first_is_closed.wait(timeout=10)
            os.write(2, b"loading\n")
        first_is_closed.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"cannot load\n")
    assert capfd.readouterr().err == "cannot load\n"
