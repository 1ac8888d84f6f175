"""What reaches the terminal of a person who runs tfod."""

from __future__ import annotations

import logging

import pytest

from tfod.quiet import native_chatter_held, quiet


@pytest.fixture
def loggers():
    """The loggers of TensorFlow and absl, put back as they were."""
    found = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    before = [(logger.level, logger.propagate, list(logger.filters)) for logger in found]
    yield found
    for logger, (level, propagate, filters) in zip(found, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.filters[:] = filters


def test_deprecations_go_and_warnings_stay(loggers, caplog):
    quiet()
    quiet()
    for logger in loggers:
        logger.propagate = True
        logger.info("building the model")
        logger.warning("From %s: cond is deprecated and will be removed in a future version.", "x")
        logger.warning("Skipping full serialization of TF-Keras layer <Lambda>, not built.")
        logger.warning("Value in checkpoint could not be found in the restored object: (root).step")
        logger.warning("The checkpoint holds %d values that fit nothing", 3)
    assert [record.getMessage() for record in caplog.records] == [
        "The checkpoint holds 3 values that fit nothing"
    ] * 2


def test_native_output_is_let_out_on_failure(capfd):
    import os

    with native_chatter_held():
        os.write(2, b"loading\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError), native_chatter_held():
        os.write(2, b"cannot load\n")
        raise ValueError
    assert capfd.readouterr().err == "cannot load\n"
