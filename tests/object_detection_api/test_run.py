"""Tests `run`: the OD API's tests that matter most pass, and other results are reported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from run import HERE, FileResult, find_files, read_expected, unexpected, upstream_root

RESULT = FileResult(
    file="core/box_test.py",
    passed=("core/box_test.py::Box::test_area",),
    skipped=(),
    failed={"core/box_test.py::Box::test_flip": "ValueError: xmin > xmax"},
    seconds=1,
)


@pytest.mark.slow
@pytest.mark.long
def test_chosen_files_pass(tmp_path):
    result = subprocess.run(
        [sys.executable, HERE / "run.py", "--chosen", "--output", tmp_path / "output"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert " 0 failed" in result.stdout.splitlines()[-1]


def test_an_unexpected_failure_is_reported():
    (line,) = unexpected(RESULT, {})
    assert line == "core/box_test.py::Box::test_flip failed: ValueError: xmin > xmax"
    assert unexpected(RESULT, {"core/box_test.py::Box::test_flip": "flip is not supported"}) == []


def test_an_expected_failure_that_passes_is_reported():
    expected = dict.fromkeys([*RESULT.passed, *RESULT.failed], "reason")
    (line,) = unexpected(RESULT, expected)
    assert line == "core/box_test.py::Box::test_area passes: remove it from expected.json"


def test_all_expected_failures_name_existing_tests():
    files = set(find_files())
    assert len(files) > 100
    for name in read_expected():
        file, _, test = name.partition("::")
        assert file in files
        class_name, _, method = test.partition("::")
        source = (upstream_root() / file).read_text()
        assert f"class {class_name}" in source
        assert f"def {method.rstrip('0123456789')}" in source  # parameterized tests are numbered
