"""Tests that tools/setup.sh creates its environment. It installs one package instead of all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
PATH = "/usr/bin:/bin"  # without the tools of this environment
# Fails like the Python of Debian and Colab, which lacks `ensurepip`: makes .venv, but without pip.
PYTHON_WITHOUT_ENSUREPIP = """#!/bin/sh
if [ "$*" = "-m venv .venv" ]; then
  '{python}' -m venv --without-pip .venv
  echo "ensurepip is not available"
  exit 1
fi
exec '{python}' "$@"
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with tools/setup.sh, an empty package, and a lock of one package."""
    project = tmp_path / "my project"
    (project / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/setup.sh", project / "tools")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "tfod"\nversion = "0"\n[tool.setuptools]\npackages = []\n'
    )
    lock = (ROOT / "requirements.lock").read_text()
    click = re.search(r"^click==.*(\n +--hash.*)+", lock, re.MULTILINE)
    assert click
    (project / "requirements.lock").write_text(click[0])
    return project


@pytest.fixture
def python() -> Path:
    """The Python of this environment's Python, which has pip."""
    if shutil.which("uv", path=PATH):
        pytest.skip("setup.sh would use the uv of the system")
    python = Path(sys.base_prefix) / "bin/python3"
    pip = [python, "-m", "pip", "--version"]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no pip")
    return python


def set_up(project: Path, python: str | Path) -> subprocess.CompletedProcess:
    """Runs tools/setup.sh as in a shell without uv, on a machine without a GPU."""
    programs = project.parent / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "nvidia-smi").write_text("#!/bin/sh\nexit 1\n")
    (programs / "nvidia-smi").chmod(0o755)
    return subprocess.run(
        [project / "tools/setup.sh"],
        env={**os.environ, "PATH": f"{programs}:{PATH}", "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_environment_is_created_without_ensurepip(project, python, tmp_path):
    script = tmp_path / "python-without-ensurepip"
    script.write_text(PYTHON_WITHOUT_ENSUREPIP.format(python=python))
    script.chmod(0o755)

    result = set_up(project, script)

    assert result.returncode == 0, result.stderr
    assert "ensurepip" not in result.stdout + result.stderr
    subprocess.run([project / ".venv/bin/python", "-c", "import click"], check=True)
    again = set_up(project, "/bin/false")  # nothing is left to do
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_environment_that_was_not_completed_is_created_again(project, python):
    subprocess.run([python, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    result = set_up(project, python)
    assert result.returncode == 0, result.stderr
    subprocess.run([project / ".venv/bin/python", "-c", "import click"], check=True)
