"""Tests that progress bars show in terminals of any kind."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tfod.commands.training_bar import TrainingBar
from tfod.training.events import TOTAL_LOSS, Step

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


def test_the_bar_of_a_resumed_run_shows_its_steps(capfd):
    bar = TrainingBar()
    for number in range(150, 154):
        time.sleep(0.6)  # longer than the interval between updates
        bar.show_step(Step(number, 300, 1.0, {TOTAL_LOSS: 1.0}, 0.1, 10.0))
    shown = capfd.readouterr().err
    bar.close()
    assert all(f"{number}/300" in shown for number in range(151, 154))
