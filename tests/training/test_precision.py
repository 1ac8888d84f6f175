"""Tests `training.precision`: when convolutions run in bfloat16 or float16, and what changes."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfod.errors import UserError
from tfod.model.pipeline import Options, configure
from tfod.training import precision
from tfod.training.events import TOTAL_LOSS
from tfod.training.input import training_batches
from tfod.training.learner import Learner
from tfod.training.precision import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    REWRITES,
    convolutions_in,
    resolve_precision,
    safe_precision,
)
from tfod.training.settings import RunSettings


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """Replaces /proc/cpuinfo by that of a CPU with the given flag, and hides a GPU."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    def with_flag(flag: str) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nflags\t\t: fpu avx512f {flag}\n")
        monkeypatch.setattr(precision, "CPU_INFO", path)

    return with_flag


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_auto_is_bfloat16_on_cpus_that_support_it(flag, cpu):
    cpu(flag)
    assert resolve_precision("auto") == resolve_precision("bfloat16") == "bfloat16"
    assert resolve_precision("float32") == "float32"


def test_auto_is_float32_on_other_cpus_and_bfloat16_is_refused(cpu):
    cpu("avx512_vnni")
    assert resolve_precision("auto") == "float32"
    with pytest.raises(UserError) as caught:
        resolve_precision("bfloat16")
    assert str(caught.value) == (
        "--precision bfloat16: needs a CPU with AVX512_BF16 or AMX, and this CPU has neither. "
        "Omit the option."
    )


def test_auto_is_float32_on_a_gpu_and_bfloat16_is_refused(cpu, monkeypatch):
    cpu("amx_bf16")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert resolve_precision("auto") == "float32"
    with pytest.raises(UserError) as caught:
        resolve_precision("bfloat16")
    assert str(caught.value) == (
        "--precision bfloat16: is for CPUs, but this machine trains on its GPU. Omit the option."
    )


def test_float16_is_refused_without_a_gpu(cpu):
    cpu("amx_bf16")
    with pytest.raises(UserError) as caught:
        resolve_precision("float16")
    assert str(caught.value) == (
        "--precision float16: needs an NVIDIA GPU with compute capability 7.0 or higher, and "
        "TensorFlow finds no GPU. Omit the option."
    )


@pytest.mark.parametrize(
    ("capabilities", "obstacle"),
    [
        ([(7, 0)], None),
        ([(7, 5), (12, 0)], None),
        ([(6, 1)], "this GPU has 6.1"),
        ([(7, 5), (6, 1)], "this GPU has 6.1"),
        ([None], "that of this GPU is not known"),
    ],
)
def test_float16_needs_gpus_with_tensor_cores(capabilities, obstacle, monkeypatch):
    def details(gpu: int) -> dict[str, object]:
        capability = capabilities[gpu]
        return {"device_name": "GPU"} | ({"compute_capability": capability} if capability else {})

    gpus = list(range(len(capabilities)))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details)
    assert resolve_precision("auto") == "float32"
    if not obstacle:
        assert resolve_precision("float16") == "float16"
        return
    with pytest.raises(UserError) as caught:
        resolve_precision("float16")
    assert str(caught.value) == (
        "--precision float16: needs an NVIDIA GPU with compute capability 7.0 or higher, and "
        f"{obstacle}. Omit the option."
    )


@pytest.mark.parametrize("kind", [FLOAT32, BFLOAT16, FLOAT16])
def test_graphs_are_rewritten_inside_the_block_only(kind):
    def active() -> set[str]:
        options = tf.config.optimizer.get_experimental_options()
        return {name for name in REWRITES.values() if options.get(name)}

    with pytest.raises(KeyError), convolutions_in(kind):
        assert active() == ({REWRITES[kind]} if kind in REWRITES else set())
        raise KeyError
    assert active() == set()


@pytest.mark.parametrize(
    "size, stride, safe", [(2, 2, True), (1, 2, False), (2, 3, False), (1, 1, True)]
)
def test_bfloat16_is_not_used_if_a_feature_map_is_narrower_than_the_stride(size, stride, safe):
    """oneDNN leaves the gradient of such a kernel uninitialized, sometimes NaN."""
    kernel = tf.Variable(tf.ones([3, 3, 4, 8]))

    @tf.function
    def gradient(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.conv2d(image, kernel, stride, "SAME"))
        return tape.gradient(loss, kernel)

    graph = gradient.get_concrete_function(tf.ones([2, size, size, 4])).graph
    assert safe_precision(graph, BFLOAT16) == (BFLOAT16 if safe else FLOAT32)
    assert safe_precision(graph, FLOAT32) == FLOAT32
    assert safe_precision(graph, FLOAT16) == FLOAT16  # cuDNN has no such defect


@pytest.mark.long
def test_bfloat16_steps_learn_alike_and_evaluation_stays_in_float32(data, tiny_template):
    if resolve_precision("auto") != "bfloat16":
        pytest.skip("needs a CPU with bfloat16")
    pipeline = configure(tiny_template, data, Options(batch_size=4))
    evaluated, trained = {}, {}
    for kind in (FLOAT32, BFLOAT16):
        learner = Learner(pipeline, RunSettings(), precision=kind)
        batch = next(iter(training_batches(pipeline, learner.model, seed=1)))
        evaluated[kind] = float(learner.evaluate(*batch)[0][TOTAL_LOSS])
        trained[kind] = [float(learner.train(*batch)[TOTAL_LOSS]) for _ in range(3)]
        assert {v.dtype.name for v in learner.model.trainable_variables} == {"float32"}
    assert evaluated[FLOAT32] == evaluated[BFLOAT16]
    assert trained[FLOAT32] != trained[BFLOAT16]
    assert trained[FLOAT32] == pytest.approx(trained[BFLOAT16], rel=0.02)
    assert trained[BFLOAT16][2] < trained[BFLOAT16][0]
