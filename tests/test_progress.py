"""Tests that progress bars show in terminals of any kind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
from tfod.commands.training_bar import TrainingBar
from tfod.progress import progress_bars

with progress_bars() as progress:
    progress("reading", 1, 3)
TrainingBar().close()
"""


def test_bars_show_in_a_terminal_without_a_size():
    pty = pytest.importorskip("pty")
    terminal, inner = pty.openpty()  # its size is 0 x 0, as that of commands in a Colab notebook
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", CODE], env=env, stderr=inner, check=True)
    os.close(inner)
    with open(terminal, "rb") as file:  # noqa: PTH123
        shown = file.read1(10_000).decode()
    assert "reading:  33%" in shown
    assert "building: 0step" in shown
