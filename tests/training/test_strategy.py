"""Tests `training.strategy`: a run is the same on several devices and in several processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from helpers.cluster import cluster_configs
from helpers.files import contents
from helpers.limits import scaled
from tfod.errors import UserError
from tfod.model.pipeline import read_pipeline, write_pipeline
from tfod.training import strategy

TOOLS = Path(__file__).parents[2] / "tools"
SLOT = ".OPTIMIZER_SLOT/optimizer/momentum"
# The number of logical CPU devices has to be set before any other use of TensorFlow.
ON_TWO_DEVICES = """
import tfod, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfod.cli import main
main()
"""


def start(
    data, template: Path, output: Path, *arguments, code=None, **environment
) -> subprocess.Popen:
    """Starts `tfod train`, or the given Python code with the arguments of `tfod train`."""
    options = {
        "--data": data.folder,
        "--pipeline": template,
        "--init": "scratch",
        "--output": output,
        "--batch-size": 4,
        "--precision": "float32",
        # So low that the weights hardly change: rounding errors do not grow from step to step.
        "--learning-rate": 1e-7,
    }
    words = [*(word for pair in options.items() for word in pair), *arguments]
    return subprocess.Popen(
        [sys.executable, *(("-c", code) if code else ("-m", "tfod")), "train", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(TOOLS), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        stderr = process.communicate(timeout=scaled(1000))[1].decode()
        assert process.returncode == 0, stderr[-3000:]


def training_losses(run: Path) -> pd.DataFrame:
    """Returns the training losses by step.

    Validation losses depend on the moving variance of batch norm, which fused batch norm corrects
    by N / (N - 1), and synchronized batch norm does not.
    """
    return pd.read_csv(run / "metrics.csv").set_index("step").filter(regex="^[a-z]+_loss")


def momentum(run: Path) -> np.ndarray:
    """Returns the accumulated gradients in the newest checkpoint of a run."""
    checkpoint = tf.train.load_checkpoint(str(run))
    names = sorted(name for name in checkpoint.get_variable_to_shape_map() if SLOT in name)
    return np.concatenate([checkpoint.get_tensor(name).ravel() for name in names])


def assert_equivalent(run: Path, expected: Path) -> None:
    pd.testing.assert_frame_equal(
        training_losses(run), training_losses(expected), rtol=1e-4, atol=1e-5
    )
    # On 1 x 1 feature maps the gradients of batch norm are ill-conditioned: its two implementations
    # differ by 0.06 even in one process. A loss or gradient with a wrong weight is off by half.
    gradients = momentum(expected)
    assert np.linalg.norm(momentum(run) - gradients) < 0.15 * np.linalg.norm(gradients)


@pytest.fixture(scope="module")
def mobilenet_v1_template(shallow_template, tmp_path_factory) -> Path:
    """The shallow template with MobileNet V1: half the layers, so much faster to distribute.

    The test of a killed worker uses MobileNet V2.
    """
    pipeline = read_pipeline(shallow_template)
    pipeline.model.ssd.feature_extractor.type = "ssd_mobilenet_v1_fpn_keras"
    path = tmp_path_factory.mktemp("mobilenet_v1") / "pipeline.config"
    write_pipeline(pipeline, path)
    return path


ARGUMENTS = ("--steps", 6, "--eval-every", 6)


@pytest.fixture(scope="module")
def runs(data, mobilenet_v1_template, tmp_path_factory) -> Path:
    """Runs on one device and on two devices, in parallel: tracing uses one core."""
    folder, template = tmp_path_factory.mktemp("runs"), mobilenet_v1_template
    mirrored = (*ARGUMENTS, "--strategy", "mirrored")
    finish(
        start(data, template, folder / "one_device", *ARGUMENTS),
        start(data, template, folder / "devices", *mirrored, code=ON_TWO_DEVICES),
    )
    return folder


@pytest.mark.long
def test_two_devices_train_like_one(runs):
    assert_equivalent(runs / "devices", runs / "one_device")


@pytest.mark.long
@pytest.mark.slow
def test_two_workers_train_like_one_device(data, mobilenet_v1_template, runs, tmp_path):
    finish(
        *(
            start(data, mobilenet_v1_template, tmp_path / "run", *ARGUMENTS, TF_CONFIG=config)
            for config in cluster_configs(2)
        )
    )
    assert_equivalent(tmp_path / "run", runs / "one_device")


@pytest.mark.long
@pytest.mark.slow
def test_two_workers_continue_after_an_evaluation(data, mobilenet_v1_template, runs, tmp_path):
    """Only the first one has the table that says whether the last step was evaluated."""
    shutil.copytree(runs / "one_device", tmp_path / "run")
    finish(
        *(
            start(
                *(data, mobilenet_v1_template, tmp_path / "run", "--steps", 7, "--eval-every", 6),
                TF_CONFIG=config,
            )
            for config in cluster_configs(2)
        )
    )
    table = pd.read_csv(tmp_path / "run/metrics.csv")
    assert table["step"].tolist() == [1, 2, 3, 4, 5, 6, 6, 7, 7]  # two rows if it was evaluated


@pytest.mark.long
@pytest.mark.slow
def test_workers_that_restored_different_steps_stop(data, mobilenet_v1_template, runs, tmp_path):
    """As on a network file system that shows an old state of the run folder to one of them."""
    for name in ("new", "old"):
        shutil.copytree(runs / "one_device", tmp_path / name)
    for file in (tmp_path / "old").glob("ck*"):
        file.unlink()
    before = contents(tmp_path / "new")
    workers = [
        start(data, mobilenet_v1_template, tmp_path / name, *ARGUMENTS, TF_CONFIG=config)
        for name, config in zip(("new", "old"), cluster_configs(2), strict=True)
    ]
    for worker, step in zip(workers, (6, 0), strict=True):
        _, errors = worker.communicate(timeout=scaled(300))
        assert worker.returncode == 2
        assert f"this worker resumes after step {step}, and another one" in errors.decode()
    assert contents(tmp_path / "new") == before


@pytest.mark.long
@pytest.mark.slow
def test_run_survives_a_killed_worker_that_restarts(data, shallow_template, tmp_path):
    """The other worker waits for it, and both resume from the checkpoint."""
    arguments = ("--steps", 40, "--eval-every", 40, "--checkpoint-every", 5)
    configs = cluster_configs(2)
    first, second = (
        start(data, shallow_template, tmp_path / "run", *arguments, TF_CONFIG=config)
        for config in configs
    )
    end = time.monotonic() + scaled(200)
    while not [*(tmp_path / "run").glob("ckpt-2.index")]:
        assert time.monotonic() < end and first.poll() is None
        time.sleep(0.2)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert first.poll() is None
    second = start(data, shallow_template, tmp_path / "run", *arguments, TF_CONFIG=configs[1])
    finish(first, second)
    finish(start(data, shallow_template, tmp_path / "one_device", *arguments))
    assert_equivalent(tmp_path / "run", tmp_path / "one_device")


@pytest.mark.long
@pytest.mark.slow
def test_four_workers_wait_for_a_slow_one_and_for_one_that_restarts(
    data, mobilenet_v1_template, runs, tmp_path
):
    arguments = (*ARGUMENTS, "--checkpoint-every", 1)
    configs = cluster_configs(4)
    workers = [
        start(data, mobilenet_v1_template, tmp_path / "run", *arguments, TF_CONFIG=config)
        for config in configs
    ]
    end = time.monotonic() + scaled(1000)

    def wait_for(checkpoint: str) -> None:
        while not (tmp_path / f"run/{checkpoint}.index").exists():
            assert time.monotonic() < end and all(worker.poll() is None for worker in workers)
            time.sleep(0.1)

    wait_for("ckpt-1")
    workers[1].send_signal(signal.SIGSTOP)
    time.sleep(20)
    workers[1].send_signal(signal.SIGCONT)
    wait_for("ckpt-3")
    workers[3].kill()
    workers[3].communicate()
    workers[3] = start(
        data, mobilenet_v1_template, tmp_path / "run", *arguments, TF_CONFIG=configs[3]
    )
    finish(*workers)
    assert_equivalent(tmp_path / "run", runs / "one_device")


@pytest.mark.long
@pytest.mark.slow
def test_a_worker_may_restart_before_the_others_notice(data, mobilenet_v1_template, runs, tmp_path):
    """The chief is busy meanwhile, such as with an evaluation."""
    arguments = (*ARGUMENTS, "--checkpoint-every", 1)
    configs = cluster_configs(2)
    chief, other = (
        start(data, mobilenet_v1_template, tmp_path / "run", *arguments, TF_CONFIG=config)
        for config in configs
    )
    end = time.monotonic() + scaled(300)
    while not (tmp_path / "run/ckpt-2.index").exists():
        assert time.monotonic() < end and chief.poll() is other.poll() is None
        time.sleep(0.1)
    chief.send_signal(signal.SIGSTOP)
    other.kill()
    other.communicate()
    other = start(data, mobilenet_v1_template, tmp_path / "run", *arguments, TF_CONFIG=configs[1])
    time.sleep(scaled(30))  # it has started TensorFlow, and waits for the chief
    chief.send_signal(signal.SIGCONT)
    finish(chief, other)
    assert_equivalent(tmp_path / "run", runs / "one_device")


@pytest.mark.long
@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_the_others(data, mobilenet_v1_template, tmp_path):
    first, second = (
        start(data, mobilenet_v1_template, tmp_path / "run", *ARGUMENTS, *init, TF_CONFIG=config)
        for config, init in zip(cluster_configs(2), ((), ("--init", "missing")), strict=True)
    )
    expected = "missing: is not a checkpoint", "TF_CONFIG: names a worker that has stopped"
    for worker, message in zip((second, first), expected, strict=True):
        errors = worker.communicate(timeout=scaled(300))[1].decode()
        assert worker.returncode == 2
        assert message in errors.splitlines()[-1]
        assert "waiting until all workers have started: localhost:" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_port_that_is_in_use_is_reported(data, mobilenet_v1_template, tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        cluster = {"worker": [f"localhost:{port}", "localhost:9"]}
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
        worker = start(data, mobilenet_v1_template, tmp_path / "run", TF_CONFIG=config)
        errors = worker.communicate(timeout=scaled(200))[1].decode()
    assert worker.returncode == 2
    assert f"TF_CONFIG: names localhost:{port} for this worker, and" in errors.splitlines()[-1]


CLUSTER = '{"cluster": {"worker": ["a:1", "b:1"]}'
INVALID = [
    "{",
    "[]",
    '{"cluster": []}',
    '{"cluster": {"worker": 3}}',
    '{"cluster": {"worker": [1, 2]}}',
    f"{CLUSTER}}}",  # no task
    f'{CLUSTER}, "task": {{"type": "worker", "index": 2}}}}',
    f'{CLUSTER}, "task": {{"type": "worker", "index": "last"}}}}',
    f'{CLUSTER}, "task": {{"type": "other", "index": 0}}}}',
]


@pytest.mark.parametrize("text", INVALID)
def test_invalid_tf_config_is_reported(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG: is not a valid cluster description"):
        strategy.make_strategy()


@pytest.mark.parametrize(
    ("jobs", "task", "workers", "is_chief"),
    [
        ({"worker": 3}, ("worker", 0), 3, True),
        ({"worker": 3}, ("worker", 1), 3, False),
        ({"chief": 1, "worker": 2}, ("chief", 0), 3, True),
        ({"chief": 1, "worker": 2}, ("worker", 0), 3, False),
        ({"chief": 1}, ("chief", 0), 1, True),
    ],
)
def test_chief_of_tf_config_counts_as_a_worker_and_writes_the_run(
    jobs, task, workers, is_chief, monkeypatch
):
    cluster = {job: [f"{job}{n}:2222" for n in range(count)] for job, count in jobs.items()}
    config = {"cluster": cluster, "task": {"type": task[0], "index": task[1]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    # The strategy itself would wait for the other workers.
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", SimpleNamespace)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    distribution = SimpleNamespace(cluster_resolver=resolver)
    assert isinstance(strategy.make_strategy(), SimpleNamespace) == (workers > 1)
    assert strategy.worker_count(distribution) == workers
    assert strategy.is_chief(distribution) == is_chief


def test_missing_tf_config_is_reported(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="needs the environment variable TF_CONFIG"):
        strategy.make_strategy("multi_worker")


@pytest.mark.long
def test_batch_that_devices_cannot_share_is_reported(data, shallow_template, tmp_path):
    arguments = ("--steps", 6, "--strategy", "mirrored", "--batch-size", 3)
    process = start(data, shallow_template, tmp_path / "run", *arguments, code=ON_TWO_DEVICES)
    stderr = process.communicate()[1].decode()
    assert process.returncode == 2
    assert (
        "--batch-size: is 3, which 2 devices cannot share evenly. Give a multiple of 2." in stderr
    )


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="TensorFlow uses this machine's GPU"
)
def test_unused_gpu_is_detected(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not strategy.has_unused_gpu()
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    assert strategy.has_unused_gpu()
    driver.write_text("#!/bin/sh\nexit 9\n")  # nvidia-smi's exit code without a device
    assert not strategy.has_unused_gpu()
    driver.write_text("#!/bin/sh\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the user hid the GPU
    assert not strategy.has_unused_gpu()
