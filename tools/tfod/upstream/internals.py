"""Private and deprecated symbols of `object_detection` and Keras that tfod uses.

Any release may change these symbols. Each function here wraps one of them. Its docstring gives the
reason, and the test in `tests/upstream/test_internals.py` that fails if the symbol changes.

| symbol | functions |
|---|---|
| `DetectionModel._is_training` | `set_training`, `inference_mode`, `is_training` |
| `tf.keras.backend.set_learning_phase` (deprecated) | `set_training` |
| `SSDMetaArch._assign_targets` | `assign_targets`, `use_targets`, `watch_targets` |
| `SSDMetaArch._normalize_loss_by_num_matches` | `normalizes_by_matches` |
| `FasterRCNNMetaArch._number_of_stages` | `is_two_stage` |
| `FasterRCNNMetaArch._crop_and_resize_fn` | `crop_by_matrix_products` |
| `KerasLayerHyperparams._use_sync_batch_norm` | `sync_batch_norm` |
| `keras_models.mobilenet_v2.mobilenet_v2` | `random_weights` |
| `inputs.INPUT_BUILDER_UTIL_MAP` | `input_transformation` |
| `export_tflite_graph_lib_tf2.SSDModule.inference_fn.python_function` | `tflite_inference` |
| `Optimizer._create_all_weights` of Keras 2 | `create_slots` |
| `Layer._trainable_weights` of Keras 2 | `own_trainable_weights` |
| `FreezableBatchNorm._training` | `is_frozen_batch_norm` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

# The values that `SSDMetaArch._assign_targets` returns, in order.
TARGETS = ("cls_targets", "cls_weights", "reg_targets", "reg_weights", "match")


def set_training(model: DetectionModel, training: bool) -> None:
    """Switches a built model between training and inference.

    The OD API sets this only when it builds a model. tfod trains and evaluates the same model,
    because a second one would double memory and tracing time.

    Test: `test_training_mode_of_a_built_model_can_be_switched`.
    """
    import tensorflow as tf

    model._is_training = training
    tf.keras.backend.set_learning_phase(training)


@contextmanager
def inference_mode(model: DetectionModel) -> Iterator[None]:
    """Sets a model to inference in the block, and restores its `_is_training` afterwards.

    Test: `test_inference_mode_restores_the_mode_of_the_model`.
    """
    before = model._is_training
    set_training(model, False)
    try:
        yield
    finally:
        model._is_training = before


def is_training(model: DetectionModel) -> bool:
    """Whether the model is set to training.

    Test: `test_training_mode_of_a_built_model_can_be_switched`.
    """
    return model._is_training


def assign_targets(
    model: DetectionModel, boxes: tf.Tensor, classes: tf.Tensor, weights: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Matches the ground truth of one image to anchors, in the same way as an SSD model's loss.

    Args:
      boxes: float32 `[N, 4]`: ymin, xmin, ymax, xmax, normalized.
      classes: one-hot float32 `[N, classes]`.
      weights: float32 `[N]`.

    Returns:
      The `TARGETS` by name, without a batch dimension.

    Test: `test_a_box_on_an_anchor_is_assigned_to_it`.
    """
    # From the class, because `use_targets` may have replaced the method of the instance.
    targets = type(model)._assign_targets(model, [boxes], [classes], None, [weights], None)
    return dict(zip(TARGETS, (target[0] for target in targets), strict=True))


def use_targets(model: DetectionModel, targets: Sequence[tf.Tensor]) -> None:
    """Makes the loss of an SSD model use these batched `TARGETS` instead of computing them.

    Test: `test_the_loss_uses_given_targets`.
    """
    model._assign_targets = lambda *_: targets


def watch_targets(
    model: DetectionModel, on_targets: Callable[[dict[str, tf.Tensor]], None]
) -> None:
    """Calls `on_targets` with the batched `TARGETS` each time an SSD model's loss computes them.

    Does nothing for a model without `_assign_targets`, such as Faster R-CNN.

    Test: `test_targets_of_the_loss_are_reported`.
    """
    if not hasattr(model, "_assign_targets"):
        return
    assign = type(model)._assign_targets

    def assign_and_report(*arguments):
        targets = assign(model, *arguments)
        on_targets(dict(zip(TARGETS, targets, strict=True)))
        return targets

    model._assign_targets = assign_and_report


def is_two_stage(model: DetectionModel) -> bool:
    """Whether the model is a Faster R-CNN, whose `predict` needs the ground truth in training.

    Test: `test_only_faster_rcnn_is_two_stage`.
    """
    return hasattr(model, "_number_of_stages")


def normalizes_by_matches(model: DetectionModel) -> bool | None:
    """Whether SSD losses are divided by the number of matched anchors; None for other models.

    Test: `test_loss_normalization_is_read_from_the_model`.
    """
    return getattr(model, "_normalize_loss_by_num_matches", None)


def crop_by_matrix_products(model: DetectionModel) -> None:
    """Makes a Faster R-CNN crop its proposals with operations that TFLite supports.

    Has the effect of `use_matmul_crop_and_resize` in the config, which must be set before the model
    is built.

    Test: `test_faster_rcnn_can_crop_by_matrix_products`.
    """
    from object_detection.utils import spatial_transform_ops

    model._crop_and_resize_fn = spatial_transform_ops.multilevel_matmul_crop_and_resize


@contextmanager
def sync_batch_norm() -> Iterator[None]:
    """Models that are built in the block compute batch norm statistics over all replicas.

    The proto has `sync_batch_norm` for this, but with it the OD API builds the towers of its box
    predictors without any batch norm.

    Test: `test_sync_batch_norm_applies_inside_the_block_only`.
    """
    from object_detection.builders.hyperparams_builder import KerasLayerHyperparams

    original_init = KerasLayerHyperparams.__init__

    def synchronized_init(self, *arguments, **options) -> None:
        original_init(self, *arguments, **options)
        self._use_sync_batch_norm = True

    KerasLayerHyperparams.__init__ = synchronized_init
    try:
        yield
    finally:
        KerasLayerHyperparams.__init__ = original_init


@contextmanager
def random_weights() -> Iterator[None]:
    """Models that are built in the block have random weights.

    CenterNet with MobileNetV2 downloads ImageNet weights whenever it is built, even if a checkpoint
    replaces them at once, and fails without a network.

    Test: `test_centernet_is_built_without_a_network`.
    """
    from object_detection.models.keras_models import mobilenet_v2

    original = mobilenet_v2.mobilenet_v2

    def without_weights(*arguments, **options):
        return original(*arguments, **{**options, "weights": None})

    mobilenet_v2.mobilenet_v2 = without_weights
    try:
        yield
    finally:
        mobilenet_v2.mobilenet_v2 = original


def input_transformation(pipeline: TrainEvalPipelineConfig, model: DetectionModel) -> Callable:
    """Returns the function with which `inputs.train_input` augments, resizes and pads an image.

    `train_input` passes the function to the dataset builder in this table, which would also build a
    `tf.data` pipeline that tfod does not use.

    Returns:
      A function from the tensors of a decoded record to (features, labels).

    Test: `test_input_transformation_resizes_and_pads`.
    """
    from object_detection import inputs

    original_builder = inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"]
    inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] = lambda *_, **arguments: arguments
    try:
        arguments = inputs.train_input(
            pipeline.train_config, pipeline.train_input_reader, pipeline.model, model=model
        )
    finally:
        inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] = original_builder
    return arguments["transform_input_data_fn"]


def tflite_inference(
    pipeline: TrainEvalPipelineConfig,
    model: DetectionModel,
    max_detections: int,
    regular_nms: bool,
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns an SSD model followed by `TFLite_Detection_PostProcess`, not yet traced.

    The OD API's export traces it with AutoGraph, which takes longer than all other steps together.

    Args:
      regular_nms: suppresses overlapping boxes per class; False uses TFLite's faster algorithm.

    Returns:
      A function from the preprocessed image to tensors with the OD API's names. Classes count from
      0.

    Test: `test_tflite_inference_names_its_outputs`.
    """
    from object_detection import export_tflite_graph_lib_tf2

    module = export_tflite_graph_lib_tf2.SSDModule(pipeline, model, max_detections, regular_nms)
    infer = export_tflite_graph_lib_tf2.SSDModule.inference_fn.python_function
    # The order in which it returns them, which is the reverse of its docstring.
    names = ("num_detections", "detection_scores", "detection_classes", "detection_boxes")
    return lambda image: dict(zip(names, infer(module, image), strict=True))


def create_slots(
    optimizer: tf.keras.optimizers.Optimizer, variables: Sequence[tf.Variable]
) -> None:
    """Creates the slot variables of an optimizer, such as momentum, before the first step.

    A checkpoint can restore them only if they exist.

    Test: `test_optimizer_slots_exist_before_the_first_step`.
    """
    optimizer._create_all_weights(variables)


def own_trainable_weights(module: tf.Module) -> Sequence[tf.Variable]:
    """Returns the trainable weights of a Keras layer, without those of its sublayers.

    `Layer.trainable_weights` includes the sublayers. Other modules have none.

    Test: `test_weights_of_sublayers_are_left_out`.
    """
    return getattr(module, "_trainable_weights", ())


def is_frozen_batch_norm(module: tf.Module) -> bool:
    """Whether a module is batch norm that must use its moving averages in training.

    Of a layer that is not trainable, Keras keeps the moving averages as they are. But the OD API's
    layers, which have the behavior of TensorFlow 1, normalize with the statistics of the batch.

    Test: `test_batch_norm_is_frozen_by_the_config_or_as_not_trainable`.
    """
    from object_detection.core.freezable_batch_norm import FreezableBatchNorm
    from object_detection.core.freezable_sync_batch_norm import FreezableSyncBatchNorm

    if not isinstance(module, (FreezableBatchNorm, FreezableSyncBatchNorm)):
        return False
    return module._training is False or not module.trainable
