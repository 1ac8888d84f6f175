"""The OD API's own tests pass, those that tfod leans on most; and the judge of them judges."""

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
    failed={"core/box_test.py::Box::test_flip": "ValueError: left of right"},
    seconds=1,
)


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


def test_a_failure_that_is_not_excused_is_trouble():
    (line,) = unexpected(RESULT, {})
    assert line == "core/box_test.py::Box::test_flip failed: ValueError: left of right"
    assert unexpected(RESULT, {"core/box_test.py::Box::test_flip": "no flips here"}) == []


def test_an_excuse_for_a_test_that_passes_is_trouble():
    excuses = dict.fromkeys([*RESULT.passed, *RESULT.failed], "hard")
    (line,) = unexpected(RESULT, excuses)
    assert line == "core/box_test.py::Box::test_area passes: take it out of expected.json"


def test_every_excuse_names_a_test_that_is_there():
    files = set(find_files())
    assert len(files) > 100
    for name in read_expected():
        file, _, test = name.partition("::")
        assert file in files
        class_name, _, method = test.partition("::")
        source = (upstream_root() / file).read_text()
        assert f"class {class_name}" in source
        assert f"def {method.rstrip('0123456789')}" in source  # parameterized tests are numbered
