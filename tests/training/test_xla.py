"""Tests `tfod train --jit`: compiled steps compute the same, and GPUs are required."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.limits import scaled
from tfod.cli import main

TOOLS = Path(__file__).parents[2] / "tools"
# Prints the losses of two steps.
TRAIN = """
import json, sys
from pathlib import Path
import tfod
from tfod.dataset.manifest import load_dataset
from tfod.model.pipeline import Options, configure
from tfod.training.learner import Learner
from tfod.training.settings import RunSettings

template, data, jit = sys.argv[1:]
pipeline = configure(Path(template), load_dataset(Path(data)), Options(batch_size=2, steps=2))
learner = Learner(pipeline, RunSettings(jit=jit == "jit"))
batches = learner.training_batches(seed=0, balance=False)
print(json.dumps([float(learner.train(*batch)["Loss/total_loss"]) for batch in batches]))
"""


def losses_and_compiled(data, template: Path, jit: str, folder: Path) -> tuple[list[float], int]:
    """Returns the losses of a training, and the number of files that XLA writes when it compiles.

    The flags of TensorFlow let it compile for CPUs, too.
    """
    flags = {"TF_XLA_FLAGS": "--tf_xla_cpu_global_jit", "XLA_FLAGS": f"--xla_dump_to={folder}"}
    result = subprocess.run(
        [sys.executable, "-c", TRAIN, template, data.folder, jit],
        check=False,
        env={**os.environ, "PYTHONPATH": str(TOOLS), **flags},
        capture_output=True,
        text=True,
        timeout=scaled(600),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1]), len(list(folder.glob("*")))


@pytest.mark.long
@pytest.mark.slow
def test_compiled_steps_compute_the_same(data, shallow_template, tmp_path):
    expected, none = losses_and_compiled(data, shallow_template, "", tmp_path / "without")
    losses, some = losses_and_compiled(data, shallow_template, "jit", tmp_path / "with")
    assert none == 0 < some
    assert losses == pytest.approx(expected, rel=1e-3)
    assert losses[0] != losses[1]


def test_jit_is_refused_without_a_gpu(data, tiny_template, tmp_path):
    command = ["train", "--data", data.folder, "--pipeline", tiny_template, "--init", "scratch"]
    command += ["--output", tmp_path / "run", "--jit"]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 2
    assert "--jit: is for GPUs, and TensorFlow finds none" in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()
