"""A run is the same however its batches are spread: over devices, and over processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfod.errors import UserError
from tfod.training import strategy

pytestmark = pytest.mark.long
TOOLS = Path(__file__).parents[2] / "tools"
SLOT = ".OPTIMIZER_SLOT/optimizer/momentum"
# TensorFlow asks before anything else how many devices a CPU is to be.
ON_TWO_DEVICES = """
import tfod, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfod.cli import main
main()
"""


def start(data, template: Path, output: Path, *more, code=None, **environment) -> subprocess.Popen:
    options = {
        "--data": data.folder,
        "--pipeline": template,
        "--init": "scratch",
        "--output": output,
        "--batch-size": 4,
        "--precision": "float32",
        # So low that weights stay, and the last digit of one step is not the first of the next.
        "--learning-rate": 1e-7,
    }
    words = [*(word for pair in options.items() for word in pair), *more]
    return subprocess.Popen(
        [sys.executable, *(("-c", code) if code else ("-m", "tfod")), "train", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(TOOLS), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        said = process.communicate(timeout=400)[1].decode()
        assert process.returncode == 0, said[-3000:]


def losses(run: Path) -> pd.DataFrame:
    """Of training. Those of val depend on batch norm's averages, which fused batch norm corrects by
    N / (N - 1) and that of several replicas does not."""
    return pd.read_csv(run / "metrics.csv").set_index("step").filter(regex="^[a-z]+_loss")


def momentum(run: Path) -> np.ndarray:
    """The sums of all gradients, in a run's newest checkpoint."""
    checkpoint = tf.train.load_checkpoint(str(run))
    names = sorted(name for name in checkpoint.get_variable_to_shape_map() if SLOT in name)
    return np.concatenate([checkpoint.get_tensor(name).ravel() for name in names])


def assert_alike(run: Path, other: Path) -> None:
    pd.testing.assert_frame_equal(losses(run), losses(other), rtol=1e-4, atol=1e-5)
    # On maps of 1 x 1 the gradients of batch norm are ill-conditioned: its two implementations are
    # 0.06 apart in one process too. A loss or gradient that is shared out wrongly is off by half.
    expected = momentum(other)
    assert np.linalg.norm(momentum(run) - expected) < 0.15 * np.linalg.norm(expected)


def cluster(size: int) -> list[str]:
    """`TF_CONFIG` of each worker."""
    with contextlib.ExitStack() as sockets:
        ports = []
        for _ in range(size):
            taken = sockets.enter_context(socket.socket())
            taken.bind(("localhost", 0))
            ports.append(taken.getsockname()[1])
    addresses = [f"localhost:{port}" for port in ports]
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(size)
    ]


@pytest.fixture(scope="module")
def runs(data, tiny_template, tmp_path_factory) -> Path:
    """Of one device, two devices and two workers; all at a time, for each traces on one core."""
    folder, given = tmp_path_factory.mktemp("runs"), ("--steps", 6, "--eval-every", 6)
    mirrored = (*given, "--strategy", "mirrored")
    finish(
        start(data, tiny_template, folder / "alone", *given),
        start(data, tiny_template, folder / "devices", *mirrored, code=ON_TWO_DEVICES),
        *(
            start(data, tiny_template, folder / "workers", *given, TF_CONFIG=each)
            for each in cluster(2)
        ),
    )
    return folder


def test_two_devices_are_one(runs):
    assert_alike(runs / "devices", runs / "alone")


def test_two_workers_are_one(runs):
    assert_alike(runs / "workers", runs / "alone")


@pytest.mark.slow
def test_a_worker_that_was_killed_comes_back(data, tiny_template, tmp_path):
    """The other one waits for it, and both go on from the checkpoint."""
    given = ("--steps", 40, "--eval-every", 40, "--checkpoint-every", 5)
    configs = cluster(2)
    first, second = (
        start(data, tiny_template, tmp_path / "run", *given, TF_CONFIG=each) for each in configs
    )
    end = time.monotonic() + 200
    while not [*(tmp_path / "run").glob("ckpt-2.index")]:
        assert time.monotonic() < end and first.poll() is None
        time.sleep(0.2)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert first.poll() is None
    second = start(data, tiny_template, tmp_path / "run", *given, TF_CONFIG=configs[1])
    finish(first, second)
    finish(start(data, tiny_template, tmp_path / "alone", *given))
    assert_alike(tmp_path / "run", tmp_path / "alone")


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": []}', '{"cluster": {"worker": 3}}'])
def test_a_config_that_is_none_is_one_line(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG: is no JSON of a cluster"):
        strategy.make_strategy()


def test_workers_without_a_config_are_one_line(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="finds no TF_CONFIG in the environment"):
        strategy.make_strategy("multi_worker")


def test_a_batch_that_cannot_be_shared_is_one_line(data, tiny_template, tmp_path):
    given = ("--steps", 6, "--strategy", "mirrored", "--batch-size", 3)
    process = start(data, tiny_template, tmp_path / "run", *given, code=ON_TWO_DEVICES)
    said = process.communicate()[1].decode()
    assert process.returncode == 2
    assert "--batch-size: is 3, for 2 devices. Give a multiple of that." in said


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="TensorFlow uses this machine's GPU"
)
def test_a_gpu_that_is_not_used_is_noticed(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not strategy.gpu_left_out()
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    assert strategy.gpu_left_out()
    driver.write_text("#!/bin/sh\nexit 9\n")  # as it says that there is no device
    assert not strategy.gpu_left_out()
    driver.write_text("#!/bin/sh\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden by whoever calls
    assert not strategy.gpu_left_out()
