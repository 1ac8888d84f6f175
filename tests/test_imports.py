"""The structure of the package: which part imports which, and the imports that stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_go_down_only():
    """The contracts of `[tool.importlinter]` in pyproject.toml; every package has its layer."""
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh Python has loaded after a statement."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); {statement}; "
    code += "print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize(
    ("statement", "not_loaded"),
    [
        ("import tfod.cli", {"tensorflow", "numpy", "PIL", "google.protobuf"}),
        ("from tfod.dataset import load_dataset", {"tensorflow", "lxml", "yaml", "numpy"}),
        ("from tfod.detector import Detector", {"tensorflow", "lxml", "pandas", "matplotlib"}),
        ("from tfod.records import read_records", {"tensorflow", "lxml", "yaml"}),
        ("from tfod.conversion import convert", {"tensorflow", "numpy", "pandas"}),
        ("from tfod.training import train", {"tensorflow", "lxml", "matplotlib"}),
    ],
)
def test_documented_imports_work_and_load_no_more_than_they_need(statement, not_loaded):
    assert not loaded_by(statement) & not_loaded
