"""Tests `model.detection_file`, and where a run's threshold and input size come from."""

from __future__ import annotations

import json

import pytest

from tfod.errors import UserError
from tfod.model.run_folder import RunFolder


def test_the_threshold_is_that_of_the_chosen_size_or_of_the_best_checkpoint(tmp_path):
    run = RunFolder(tmp_path)
    assert (run.threshold(), run.detection_size()) == (None, None)
    run.best.mkdir()
    run.best_metrics.write_text(json.dumps({"threshold": 0.25, "images": 4}))
    assert (run.threshold(), run.detection_size()) == (0.25, None)
    run.detection.write_text(json.dumps({"threshold": 0.5, "input_size": 448}))
    assert (run.threshold(), run.detection_size()) == (0.5, 448)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        "[" * 100_000,
        "\xff",
        '{"threshold": "0.5", "input_size": "448"}',
        '{"threshold": NaN, "input_size": 1e999}',
        '{"threshold": 2, "input_size": -1}',
        '{"threshold": [], "input_size": 1000000}',
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    run = RunFolder(tmp_path)
    run.detection.write_bytes(content.encode("latin-1"))
    for read in (run.threshold, run.detection_size):
        with pytest.raises(UserError) as error:
            read()
        assert str(error.value) == (
            f"{run.detection}: is damaged. Delete it: the defaults are used without it."
        )
