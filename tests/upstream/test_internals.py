"""Tests `upstream.internals` and `upstream.mediapipe_metadata`: private symbols still work."""

from __future__ import annotations

import ast
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from tfod.errors import UserError
from tfod.model.checkpoint import build_variables
from tfod.model.pipeline import Options, architecture, configure, read_pipeline, set_input_size
from tfod.model.templates import find_template
from tfod.upstream import internals, mediapipe_metadata

PACKAGE = Path(internals.__file__).parents[1]
BOXES = np.array([[0.1, 0.2, 0.5, 0.7], [0.4, 0.4, 0.9, 0.8]], np.float32)
CLASSES = np.eye(4, dtype=np.float32)[:2]


@pytest.fixture(scope="module")
def pipeline(data, tiny_template):
    return configure(tiny_template, data, Options(steps=2, batch_size=1))


@pytest.fixture(scope="module")
def built_model(pipeline):
    from object_detection.builders import model_builder

    model = model_builder.build(pipeline.model, is_training=True, add_summaries=False)
    build_variables(model)
    return model


@pytest.fixture
def model(built_model):
    """A small SSD model, set to training, with its own `_assign_targets`."""
    internals.set_training(built_model, True)
    yield built_model
    vars(built_model).pop("_assign_targets", None)


def build_faster_rcnn(**options):
    from object_detection.builders import model_builder

    pipeline = read_pipeline(find_template("faster_rcnn_resnet50_v1_640x640"))
    set_input_size(pipeline, 64)
    for name, value in options.items():
        setattr(pipeline.model.faster_rcnn, name, value)
    return model_builder.build(pipeline.model, is_training=True)


def compute_loss(model):
    """Returns the losses of an SSD model for one gray image with `BOXES`."""
    import tensorflow as tf

    images, shapes = model.preprocess(tf.fill([1, 96, 96, 3], 100.0))
    model.provide_groundtruth([tf.constant(BOXES)], [tf.constant(CLASSES)])
    losses = model.loss(model.predict(images, shapes), shapes)
    return {name: float(loss) for name, loss in losses.items()}


def test_private_symbols_are_used_in_upstream_only():
    public = {("os", "_exit"), ("etree", "_Element")}  # despite their names
    violations = []
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "upstream":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            symbol = ""
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                owner = ast.unparse(node.value)
                own = owner in ("self", "cls", "super()") or node.attr.startswith("__")
                if not own and (owner, node.attr) not in public:
                    symbol = f"{owner}.{node.attr}"
            elif isinstance(node, ast.ImportFrom) and node.module:
                symbol = node.module
            elif isinstance(node, ast.Import):
                symbol = " ".join(alias.name for alias in node.names)
            private = isinstance(node, ast.Attribute) and symbol
            if private or any(
                name in symbol for name in ("tensorflow.python", "tf_keras", "keras.src")
            ):
                violations.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {symbol}")
    assert violations == []


@pytest.mark.long
def test_training_mode_of_a_built_model_can_be_switched(model):
    import tensorflow as tf

    images, shapes = model.preprocess(tf.random.stateless_uniform([1, 96, 96, 3], [1, 2], 0, 255))

    averages = [variable for variable in model.variables if "moving_mean" in variable.name]
    assert averages

    def moving_averages_change() -> bool:
        before = [average.numpy() for average in averages]
        model.predict(images, shapes)
        after = [average.numpy() for average in averages]
        return not all(map(np.array_equal, before, after))

    for training in (True, False, True):
        internals.set_training(model, training)
        assert internals.is_training(model) == training
        assert moving_averages_change() == training


@pytest.mark.long
def test_inference_mode_restores_the_mode_of_the_model(model):
    for training in (True, False):
        internals.set_training(model, training)
        with internals.inference_mode(model):
            assert not internals.is_training(model)
        assert internals.is_training(model) == training


@pytest.mark.long
def test_a_box_on_an_anchor_is_assigned_to_it(model):
    import tensorflow as tf

    compute_loss(model)  # generates the anchors
    anchors = model.anchors.get().numpy()
    index = len(anchors) // 2
    targets = internals.assign_targets(
        model, tf.constant(anchors[[index]]), tf.constant(CLASSES[:1]), tf.constant([1.0])
    )
    assert tuple(targets) == internals.TARGETS
    assert targets["match"][index] == 0
    assert targets["reg_weights"][index] == 1
    assert np.abs(targets["reg_targets"][index]).max() < 1e-5
    assert targets["cls_targets"][index].numpy().tolist() == [0, 1, 0, 0, 0]  # 0 is background
    assert targets["cls_weights"].shape == targets["cls_targets"].shape == (len(anchors), 5)


@pytest.mark.long
def test_the_loss_uses_given_targets(model):
    import tensorflow as tf

    assert compute_loss(model)["Loss/localization_loss"] > 0
    targets = internals.assign_targets(
        model, tf.constant(BOXES), tf.constant(CLASSES), tf.constant([0.0, 0.0])
    )
    targets["reg_weights"] = tf.zeros_like(targets["reg_weights"])
    internals.use_targets(model, [target[None] for target in targets.values()])
    assert compute_loss(model)["Loss/localization_loss"] == 0


@pytest.mark.long
def test_targets_of_the_loss_are_reported(model):
    import tensorflow as tf

    reported = []
    internals.watch_targets(model, reported.append)
    compute_loss(model)
    (targets,) = reported
    expected = internals.assign_targets(
        model, tf.constant(BOXES), tf.constant(CLASSES), tf.constant([1.0, 1.0])
    )
    for name, value in expected.items():
        np.testing.assert_array_equal(targets[name][0], value, err_msg=name)


@pytest.mark.long
def test_loss_normalization_is_read_from_the_model(pipeline, model):
    from object_detection.builders import model_builder

    assert internals.normalizes_by_matches(model) is True
    other = read_pipeline(find_template("ssd_mobilenet_v2_fpnlite_320x320"))
    architecture(other).normalize_loss_by_num_matches = False
    assert internals.normalizes_by_matches(model_builder.build(other.model, True)) is False


@pytest.mark.long
def test_only_faster_rcnn_is_two_stage(model):
    faster_rcnn = build_faster_rcnn()
    assert internals.is_two_stage(faster_rcnn) and not internals.is_two_stage(model)
    assert internals.normalizes_by_matches(faster_rcnn) is None
    internals.watch_targets(faster_rcnn, print)
    assert "_assign_targets" not in vars(faster_rcnn)


@pytest.mark.long
def test_faster_rcnn_can_crop_by_matrix_products():
    changed = build_faster_rcnn(use_matmul_crop_and_resize=False)
    configured = build_faster_rcnn(use_matmul_crop_and_resize=True)
    assert changed._crop_and_resize_fn is not configured._crop_and_resize_fn
    internals.crop_by_matrix_products(changed)
    assert changed._crop_and_resize_fn is configured._crop_and_resize_fn


def test_sync_batch_norm_applies_inside_the_block_only(pipeline):
    from object_detection.builders.hyperparams_builder import KerasLayerHyperparams

    config = pipeline.model.ssd.feature_extractor.conv_hyperparams

    def batch_norm() -> str:
        return type(KerasLayerHyperparams(config).build_batch_norm()).__name__

    with internals.sync_batch_norm():
        assert batch_norm() == "FreezableSyncBatchNorm"
    assert batch_norm() == "FreezableBatchNorm"


@pytest.mark.long
def test_centernet_is_built_without_a_network(monkeypatch, tmp_path):
    from tfod.model.build import build_model

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # nothing was downloaded earlier
    (tmp_path / "pipeline.config").write_text(
        """model { center_net { num_classes: 2 feature_extractor { type: "mobilenet_v2_fpn" }
        image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
        object_detection_task { localization_loss { l1_localization_loss { } } }
        object_center_params { max_box_predictions: 10 classification_loss {
          penalty_reduced_logistic_focal_loss { alpha: 2.0 beta: 4.0 } } } } }"""
    )
    assert build_model(read_pipeline(tmp_path / "pipeline.config"), is_training=True)


def test_input_transformation_resizes_and_pads(pipeline, model):
    import tensorflow as tf
    from object_detection import inputs

    builder = inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"]
    transform = internals.input_transformation(pipeline, model)
    assert inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] is builder
    features, labels = transform(
        {
            "image": tf.fill([40, 60, 3], tf.constant(100, tf.uint8)),
            "source_id": tf.constant("0"),
            "original_image_spatial_shape": tf.constant([40, 60]),
            "groundtruth_boxes": tf.constant(BOXES),
            "groundtruth_classes": tf.constant([1, 2], tf.int64),
            "groundtruth_weights": tf.constant([1.0, 1.0]),
        }
    )
    assert features["image"].shape == (96, 96, 3)
    boxes = pipeline.train_input_reader.max_number_of_boxes
    assert labels["groundtruth_boxes"].shape == (boxes, 4)
    assert labels["groundtruth_classes"].shape == (boxes, 4)


@pytest.mark.long
def test_tflite_inference_names_its_outputs(pipeline, model):
    import tensorflow as tf

    positions = {}

    def infer(image):
        outputs = internals.tflite_inference(pipeline, model, 10, regular_nms=True)(image)
        positions.update({name: tensor.value_index for name, tensor in outputs.items()})
        return outputs

    with internals.inference_mode(model):
        tf.function(infer, autograph=False).get_concrete_function(tf.TensorSpec([1, 96, 96, 3]))
    # TensorFlow cannot run TFLite's operation. This is the order of its outputs in TFLite.
    assert positions == {
        "detection_boxes": 0,
        "detection_classes": 1,
        "detection_scores": 2,
        "num_detections": 3,
    }


def test_optimizer_slots_exist_before_the_first_step(pipeline):
    import tensorflow as tf
    from object_detection.builders import optimizer_builder

    optimizer, _ = optimizer_builder.build(
        pipeline.train_config.optimizer, global_step=tf.Variable(0, dtype=tf.int64)
    )
    weight = tf.Variable(tf.ones([2, 3]), name="weight")
    internals.create_slots(optimizer, [weight])
    slots = [variable for variable in optimizer.variables() if variable.shape == weight.shape]
    assert len(slots) == 1 and "momentum" in slots[0].name


def test_weights_of_sublayers_are_left_out():
    import tensorflow as tf

    dense = tf.keras.layers.Dense(2)
    network = tf.keras.Sequential([dense])
    network.build([None, 3])
    assert [v.shape for v in internals.own_trainable_weights(dense)] == [(3, 2), (2,)]
    assert list(internals.own_trainable_weights(network)) == []
    assert len(network.trainable_weights) == 2
    assert list(internals.own_trainable_weights(tf.Module())) == []


def test_mediapipe_metadata_writer_can_be_imported():
    metadata_info, metadata_writer = mediapipe_metadata.import_metadata_modules()
    assert hasattr(metadata_info, "ScoreThresholdingMd")
    assert hasattr(metadata_writer, "MetadataWriter")
    native = sys.modules[mediapipe_metadata.NATIVE_MODULE]
    assert native.GetMinimumMetadataParserVersion(b"").count(".") == 2


def test_missing_library_of_mediapipe_is_reported(monkeypatch):
    from mediapipe.tasks.python.core import mediapipe_c_bindings

    def load(path):
        raise OSError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(mediapipe_c_bindings, "_shared_lib", None)
    monkeypatch.setattr(mediapipe_c_bindings.ctypes, "CDLL", load)
    with pytest.raises(UserError, match=r"libEGL\.so\.1: .*\. On Debian and Ubuntu: apt install"):
        mediapipe_metadata.import_metadata_modules()


@pytest.mark.long
def test_mediapipe_metadata_writer_lists_its_outputs(exported):
    _, metadata_writer = mediapipe_metadata.import_metadata_modules()
    network = bytearray((exported / "model.tflite").read_bytes())
    writer = metadata_writer.MetadataWriter(network)
    writer.add_general_info("Object detector")
    writer.add_image_input([0.0], [1.0])
    writer.add_detection_output(metadata_writer.Labels().add(["a", "b", "c", "d"]))
    names = [output.name for output in mediapipe_metadata.output_metadata(writer)]
    assert sorted(names) == ["category", "location", "number of detections", "score"]


def test_mediapipe_metadata_of_raw_outputs():
    options = mediapipe_metadata.detector_options(
        [[0.1, 0.2, 0.3, 0.4]], (10.0, 10.0, 5.0, 5.0), classes=3
    )
    metadata = options.create_metadata()
    assert metadata.name == "DETECTOR_METADATA"
    (anchor,) = options.ssd_anchors_options.fixed_anchors_schema.anchors
    assert (anchor.x_center, anchor.y_center, anchor.width, anchor.height) == (0.2, 0.1, 0.4, 0.3)


def test_batch_norm_is_frozen_by_the_config_or_as_not_trainable():
    import tensorflow as tf
    from object_detection.core.freezable_batch_norm import FreezableBatchNorm
    from object_detection.core.freezable_sync_batch_norm import FreezableSyncBatchNorm

    for kind in (FreezableBatchNorm, FreezableSyncBatchNorm):
        assert internals.is_frozen_batch_norm(kind(training=False))
        assert internals.is_frozen_batch_norm(kind(training=True, trainable=False))
        assert not internals.is_frozen_batch_norm(kind(training=True))
    assert not internals.is_frozen_batch_norm(tf.keras.layers.Dense(1, trainable=False))
