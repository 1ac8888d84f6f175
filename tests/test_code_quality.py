"""Tests that ruff and mypy report nothing, and that mypy sees what it must check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def check(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_checker_reports_nothing(command):
    result = check(*command)
    assert result.returncode == 0, result.stdout + result.stderr


def test_mypy_knows_what_a_package_imports_on_first_use(tmp_path):
    code = tmp_path / "code.py"
    code.write_text("from tfod.training import missing, train\ntrain(unknown=1)\n")
    output = check("mypy", str(code)).stdout
    assert 'Module "tfod.training" has no attribute "missing"' in output
    assert 'Unexpected keyword argument "unknown" for "train"' in output
