"""Convolutions in bfloat16: where they are chosen, and what they change."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfod.errors import UserError
from tfod.model.pipeline import Options, configure
from tfod.training import precision
from tfod.training.input import training_batches
from tfod.training.learner import TOTAL_LOSS, Learner
from tfod.training.precision import BFLOAT16, FLOAT32


def processor(tmp_path, monkeypatch, flags: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: fpu avx512f {flags}\n")
    monkeypatch.setattr(precision, "CPU_INFO", path)


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_auto_takes_bfloat16_where_the_processor_has_it(flag, tmp_path, monkeypatch):
    processor(tmp_path, monkeypatch, flag)
    assert precision.chosen("auto") == precision.chosen("bfloat16") == "bfloat16"
    assert precision.chosen("float32") == "float32"


def test_without_it_auto_is_float32_and_bfloat16_is_refused(tmp_path, monkeypatch):
    processor(tmp_path, monkeypatch, "avx512_vnni")
    assert precision.chosen("auto") == "float32"
    with pytest.raises(UserError) as caught:
        precision.chosen("bfloat16")
    assert str(caught.value) == (
        "--precision bfloat16: needs a processor with AVX512_BF16 or AMX, which this one has not. "
        "Leave it out."
    )


@pytest.mark.parametrize(
    "size, stride, safe", [(2, 2, True), (1, 2, False), (2, 3, False), (1, 1, True)]
)
def test_no_bfloat16_where_a_map_is_narrower_than_the_stride(size, stride, safe):
    """oneDNN leaves the gradient of such a kernel uninitialized: NaN, now and then."""
    kernel = tf.Variable(tf.ones([3, 3, 4, 8]))

    @tf.function
    def gradient(picture):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.conv2d(picture, kernel, stride, "SAME"))
        return tape.gradient(loss, kernel)

    graph = gradient.get_concrete_function(tf.ones([2, size, size, 4])).graph
    assert precision.safe_for(graph, BFLOAT16) == (BFLOAT16 if safe else FLOAT32)
    assert precision.safe_for(graph, FLOAT32) == FLOAT32


@pytest.mark.long
def test_a_step_in_bfloat16_learns_alike_and_judging_stays_in_float32(data, tiny_template):
    if precision.chosen("auto") != "bfloat16":
        pytest.skip("needs a processor with bfloat16")
    pipeline = configure(tiny_template, data, Options(batch_size=4))
    judged, learned = {}, {}
    for kind in (FLOAT32, BFLOAT16):
        learner = Learner(pipeline, seed=0, precision=kind)
        batches = iter(training_batches(pipeline, learner.model, seed=1))
        batch = next(batches)
        judged[kind] = float(learner.evaluate(*batch)[0][TOTAL_LOSS])
        learned[kind] = [float(learner.train(*batch)[TOTAL_LOSS]) for _ in range(3)]
        assert {v.dtype.name for v in learner.model.trainable_variables} == {"float32"}
    assert judged[FLOAT32] == judged[BFLOAT16]
    assert learned[FLOAT32] != learned[BFLOAT16]
    assert learned[FLOAT32] == pytest.approx(learned[BFLOAT16], rel=0.02)
    assert learned[BFLOAT16][2] < learned[BFLOAT16][0]
