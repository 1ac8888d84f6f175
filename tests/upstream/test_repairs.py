"""Tests `upstream.repairs`: `object_detection` works with current libraries."""

from __future__ import annotations

import importlib
import pkgutil
import platform
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
from google.protobuf import message_factory, text_format

from helpers.protos import is_repeated


def python(code: str, **env) -> subprocess.CompletedProcess:
    """Runs code in a new interpreter with the same `sys.path`."""
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_tfod_and_reading_protos_does_not_load_tensorflow():
    result = python("""
        import sys, tfod, tfod.cli, tfod.annotation.formats, tfod.conversion, tfod.detector
        from tfod.model import find_template, read_pipeline
        from google.protobuf import text_format
        pipeline = read_pipeline(find_template("faster_rcnn_resnet50_v1_640x640"))
        print(pipeline.model.faster_rcnn.num_classes, "tensorflow" in sys.modules)
    """)
    assert (result.returncode, result.stdout) == (0, "90 False\n"), result.stderr


def test_protos_use_the_fast_runtime():
    from google.protobuf.internal import api_implementation
    from object_detection.protos import pipeline_pb2

    assert api_implementation.Type() == "upb"
    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    pipeline.model.ssd.num_classes = 3
    copy = pipeline_pb2.TrainEvalPipelineConfig.FromString(pipeline.SerializeToString())
    assert copy.model.ssd.num_classes == 3
    assert type(pipeline.model).__module__ == "object_detection.protos.model_pb2"


def proto_messages():
    """Yields all message types of the OD API's protos, including nested ones."""
    import object_detection.protos

    def with_nested(descriptor):
        yield descriptor
        for nested in descriptor.nested_types:
            yield from with_nested(nested)

    for module in pkgutil.iter_modules(object_detection.protos.__path__):
        loaded = importlib.import_module(f"object_detection.protos.{module.name}")
        for descriptor in loaded.DESCRIPTOR.message_types_by_name.values():
            yield from with_nested(descriptor)


def fill(message, depth: int = 4) -> None:
    """Sets all fields of a message to values that are not the defaults."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            key, content = field.message_type.fields
            entry = 7 if key.cpp_type == key.CPPTYPE_INT32 else "ä"
            if content.message_type:
                fill(value[entry], depth - 1)
            else:
                value[entry] = non_default(content)
        elif field.message_type:
            if depth:
                fill(value.add() if is_repeated(field) else value, depth - 1)
        elif is_repeated(field):
            value.extend([non_default(field)] * 2)
        else:
            setattr(message, field.name, non_default(field))


def non_default(field):
    """Returns a value for a scalar field that is not its default."""
    if field.enum_type:
        return field.enum_type.values[-1].number
    if field.cpp_type == field.CPPTYPE_STRING:
        return b"x\0y" if field.type == field.TYPE_BYTES else "ä"
    if field.cpp_type == field.CPPTYPE_BOOL:
        return not field.default_value
    return 1.5 if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) else 7


def test_every_proto_message_round_trips_as_text_and_bytes():
    messages = list(proto_messages())
    assert len(messages) > 150
    for descriptor in messages:
        message = message_factory.GetMessageClass(descriptor)()
        fill(message)
        assert message.ByteSize() > 0 or not len(descriptor.fields), descriptor.full_name
        assert type(message).FromString(message.SerializeToString()) == message
        assert text_format.Parse(text_format.MessageToString(message), type(message)()) == message


@pytest.mark.long
def test_tensorflow_imported_first_with_keras_3_is_reported():
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


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "flag"),
    [("tensorflow", "1"), ("tfod", "0"), pytest.param("tfod", "1", marks=pytest.mark.slow)],
)
def test_keras_2_is_used_whichever_package_is_imported_first(first, flag):
    second = {"tensorflow": "tfod", "tfod": "tensorflow"}[first]
    result = python(
        f"""
        import {first}, {second}
        import tensorflow as tf
        from object_detection.builders import model_builder
        print(tf.keras.layers.Layer.__module__)
        """,
        TF_USE_LEGACY_KERAS=flag,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("tf_keras.")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is for x86-64")
def test_tensorflow_computes_with_onednn():
    from tensorflow.python.util import _pywrap_util_port

    assert _pywrap_util_port.IsMklEnabled()


@pytest.mark.parametrize(
    ("flags", "onednn", "fused"),
    [("avx2", "1", False), ("avx2", "0", True), ("avx512_vnni", "1", True)],
)
def test_batch_norm_stays_separate_where_fusing_it_is_slow(
    flags, onednn, fused, tmp_path, monkeypatch
):
    from tensorflow.python.eager.context import Context

    from tfod.upstream import repairs

    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    monkeypatch.setattr(repairs, "CPU_INFO", tmp_path / "cpuinfo")
    repairs.CPU_INFO.write_text(f"flags : fpu {flags}\n")
    context = Context()
    repairs.keep_batch_norm_separate(SimpleNamespace(context=lambda: context))
    assert context.get_optimizer_experimental_options().get("remapping", True) == fused


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is for x86-64")
def test_this_cpu_fuses_batch_norm_only_if_that_is_fast():
    import tensorflow as tf

    from tfod.upstream.repairs import CPU_INFO

    is_fast = CPU_INFO.is_file() and "avx512_vnni" in CPU_INFO.read_text()
    assert tf.config.optimizer.get_experimental_options().get("remapping", True) == is_fast


def test_installing_twice_adds_one_finder():
    from tfod.upstream import repairs

    repairs.install()
    assert sum(isinstance(finder, repairs.RepairFinder) for finder in sys.meta_path) == 1


def test_the_removed_estimator_is_reported_when_it_is_used():
    from tensorflow.compat.v1 import estimator

    import tfod  # noqa: F401

    assert estimator.ModeKeys.TRAIN == "train"
    with pytest.raises(AttributeError, match=r"removed in TensorFlow 2\.16"):
        estimator.Estimator  # noqa: B018


def test_moved_control_flow_is_available_to_tf_slim():
    from tensorflow.python.ops import control_flow_case, control_flow_ops

    assert control_flow_ops.case is control_flow_case.case
    with pytest.raises(AttributeError):
        control_flow_ops.never_there  # noqa: B018


@pytest.mark.long
def test_large_libraries_are_imported_on_first_use():
    code = """
import sys
import tfod, tensorflow
from object_detection import inputs
from object_detection.builders import model_builder
large = {"googleapiclient", "keras", "matplotlib", "pandas", "scipy.optimize", "sklearn"}
print(sorted(large & set(sys.modules)))
from object_detection.utils import visualization_utils
from tf_slim.losses import metric_learning
print(visualization_utils.plt.get_cmap("jet").name, metric_learning.metrics.f1_score([1], [1]))
import matplotlib, pandas
print(matplotlib.get_backend().lower(), pandas.Series([3]).sum())
from object_detection.matchers.hungarian_matcher import HungarianBipartiteMatcher
similarity = tensorflow.constant([[1.0, 2.0], [3.0, 1.0]])
print(HungarianBipartiteMatcher().match(similarity).match_results.numpy())
from tensorflow.python.distribute.cluster_resolver import gce_cluster_resolver
print(gce_cluster_resolver.discovery.build.__name__)
"""
    result = python(code)
    assert result.stdout.splitlines() == ["[]", "jet 1.0", "agg 3", "[1 0]", "build"], result.stderr


def test_resnet_18_is_built_with_keras_2():
    from object_detection.models.keras_models import resnet_v1

    assert resnet_v1.resnet.__name__ == "tf_keras.src.applications.resnet"


def test_tensorflow_io_is_not_imported():
    from object_detection.meta_architectures import deepmac_meta_arch

    from tfod.upstream.repairs import LazyModule

    assert isinstance(deepmac_meta_arch.tfio, LazyModule)
    assert "tensorflow_io" not in sys.modules


def test_removed_numpy_names_are_available_to_old_packages_only():
    import numpy as np

    def evaluate(expression: str, module: str):
        return eval(expression, {"__name__": module, "np": np})

    for module in ("object_detection.utils.ops", "lvis.eval"):
        assert evaluate("np.float", module) is float
        assert evaluate("np.string_", module) is np.bytes_
        with pytest.raises(AttributeError):
            evaluate("np.never_there", module)
    with pytest.raises(AttributeError):
        evaluate("np.float", "another_package")


def test_record_helpers_accept_booleans():
    from object_detection.utils import dataset_util

    assert dataset_util.int64_feature(True).int64_list.value == [1]
    assert dataset_util.int64_list_feature([True, False, 3]).int64_list.value == [1, 0, 3]


def test_boxes_can_be_drawn_with_text():
    import numpy as np
    from object_detection.utils import visualization_utils

    image = np.zeros([80, 120, 3], np.uint8)
    visualization_utils.draw_bounding_box_on_image_array(
        image, 0.3, 0.1, 0.9, 0.9, display_str_list=["stop: 90%"]
    )
    assert image[:24].any()  # the text is above the box


def test_plots_can_be_read_from_the_canvas():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from object_detection.utils import visualization_utils

    canvas = FigureCanvasAgg(Figure(figsize=(2, 1), dpi=50))
    canvas.draw()
    pixels = visualization_utils.np.fromstring(canvas.tostring_rgb(), dtype="uint8")
    assert pixels.size == 100 * 50 * 3


def test_boxes_of_frames_can_be_arrays():
    import numpy as np
    from object_detection.dataset_tools import seq_example_util

    frames = [np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]), np.zeros([0, 4])]
    ymins, xmins, ymaxs, xmaxs = seq_example_util.boxes_to_box_components(frames)
    assert [list(values) for values in ymins] == [[0.1, 0.5], []]
    assert [len(values) for values in (*xmins, *ymaxs, *xmaxs)] == [2, 0] * 3


def test_each_test_that_a_repair_names_exists():
    import re
    from pathlib import Path

    from tfod.upstream import internals, mediapipe_metadata, repairs

    for module, test_file in (
        (repairs, "test_repairs.py"),
        (internals, "test_internals.py"),
        (mediapipe_metadata, "test_internals.py"),
    ):
        tests = Path(__file__).with_name(test_file).read_text()
        names = re.findall(r"Test: `(\w+)`", Path(module.__file__).read_text())
        assert names and all(f"def {name}(" in tests for name in names)
