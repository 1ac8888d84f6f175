"""object_detection imports and its protos are served by the fast runtime, without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def python(code: str, **env) -> subprocess.CompletedProcess:
    """Runs code in a fresh interpreter that finds tfod as this one does."""
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_tfod_and_reading_protos_loads_no_tensorflow():
    result = python("""
        import sys, tfod, tfod.cli, tfod.voc, tfod.dataset, tfod.pipeline
        from google.protobuf import text_format
        pipeline = tfod.pipeline.read_pipeline(
            tfod.pipeline.find_template("faster_rcnn_resnet50_v1_640x640"))
        print(pipeline.model.faster_rcnn.num_classes, "tensorflow" in sys.modules)
    """)
    assert (result.returncode, result.stdout) == (0, "90 False\n"), result.stderr


def test_protos_are_served_by_the_fast_runtime():
    from google.protobuf.internal import api_implementation
    from object_detection.protos import pipeline_pb2

    assert api_implementation.Type() == "upb"
    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    pipeline.model.ssd.num_classes = 3
    copy = pipeline_pb2.TrainEvalPipelineConfig.FromString(pipeline.SerializeToString())
    assert copy.model.ssd.num_classes == 3
    assert type(pipeline.model).__module__ == "object_detection.protos.model_pb2"


def test_tensorflow_imported_first_with_keras_3_is_one_clear_error():
    result = python(
        """
        import tensorflow as tf
        tf.keras.layers
        import tfod
        """,
        TF_USE_LEGACY_KERAS="0",
    )
    assert result.returncode == 1
    assert "Import tfod first, or set TF_USE_LEGACY_KERAS=1" in result.stderr.splitlines()[-1]


def test_install_twice_adds_one_finder():
    from tfod import upstream

    upstream.install()
    assert sum(isinstance(finder, upstream.Finder) for finder in sys.meta_path) == 1


def test_what_is_gone_says_so_when_used():
    from tensorflow.compat.v1 import estimator

    import tfod  # noqa: F401

    assert estimator.ModeKeys.TRAIN == "train"
    with pytest.raises(AttributeError, match=r"removed in TensorFlow 2\.16"):
        estimator.Estimator  # noqa: B018


def test_moved_control_flow_is_where_tf_slim_looks():
    from tensorflow.python.ops import control_flow_case, control_flow_ops

    assert control_flow_ops.case is control_flow_case.case
    with pytest.raises(AttributeError):
        control_flow_ops.never_there  # noqa: B018
