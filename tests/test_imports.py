"""Tests the import structure: the layers of the package, and the documented imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_import_contracts_hold():
    """Checks the contracts in `[tool.importlinter]` of pyproject.toml."""
    # In a process of its own, because import-linter disables the loggers of other packages.
    check = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    result = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def loaded_by(statement: str) -> set[str]:
    """Returns the names of the modules that a new Python process has loaded after a statement."""
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
        ("from tfod.frames import write_frames", {"tensorflow", "supervision", "cv2", "pandas"}),
        ("from tfod.labeling.server import serve", {"tensorflow", "matplotlib", "pandas", "yaml"}),
        ("from tfod.training import train", {"tensorflow", "lxml", "matplotlib"}),
    ],
)
def test_documented_imports_work_and_load_few_modules(statement, not_loaded):
    assert not loaded_by(statement) & not_loaded
