"""Installs packages that only some tests need into a folder of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def install(folder: Path, *packages: str) -> None:
    """Installs packages, and what they require, into a folder. Skips the test if it cannot."""
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
    if uv is None:
        command = [sys.executable, "-m", "pip", "install"]
    else:
        command = [uv, "pip", "install", "--python", sys.executable]
    options = ["--quiet", "--target", str(folder), "--only-binary", ":all:"]
    result = subprocess.run(
        [*command, *options, *packages], capture_output=True, text=True, check=False
    )
    if result.returncode:
        pytest.skip(f"{packages[0]} cannot be installed: {result.stderr.strip()[-200:]}")
