"""Every use of what `object_detection` and Keras keep private, in one place.

Nothing promises that these symbols stay. Each function here wraps one of them and says why it is
needed.

| private symbol | function |
|---|---|
| `DetectionModel._is_training` | `set_training` |
| `tf.keras.backend.set_learning_phase` (deprecated) | `set_training` |
| `SSDMetaArch._assign_targets` | `assign_targets`, `use_targets`, `watch_targets` |
| `SSDMetaArch._normalize_loss_by_num_matches` | `normalizes_by_matches` |
| `FasterRCNNMetaArch._number_of_stages` | `is_two_stage` |
| `FasterRCNNMetaArch._crop_and_resize_fn` | `crop_by_matrix_products` |
| `KerasLayerHyperparams._use_sync_batch_norm` | `sync_batch_norm` |
| `inputs.INPUT_BUILDER_UTIL_MAP` | `input_transformation` |
| `SSDModule.inference_fn.python_function` | `tflite_inference` |
| `Optimizer._create_all_weights` of Keras 2 | `create_slots` |
| `Layer._trainable_weights` of Keras 2 | `own_trainable_weights` |

The tests that fail when one of them changes are in `tests/upstream/test_internals.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

# What `SSDMetaArch._assign_targets` returns, in its order.
TARGETS = ("cls_targets", "cls_weights", "reg_targets", "reg_weights", "match")


def set_training(model, training: bool) -> None:
    """Switches a built DetectionModel between training and inference.

    Upstream fixes this when a model is built. We train and evaluate with one model, since a
    second would double memory and tracing.
    """
    import tensorflow as tf

    model._is_training = training
    tf.keras.backend.set_learning_phase(training)


@contextmanager
def inference_phase(model) -> Iterator[None]:
    """The model is set to inference inside the block, and `_is_training` is restored after it."""
    before = model._is_training
    set_training(model, False)
    try:
        yield
    finally:
        model._is_training = before


def is_training(model) -> bool:
    return model._is_training


def assign_targets(model, boxes, classes, weights) -> dict[str, tf.Tensor]:
    """Matches ground truth to anchors, as an SSD model's loss does, for one image.

    Args:
      boxes: float32 `[N, 4]`: ymin, xmin, ymax, xmax, normalized.
      classes: one-hot float32 `[N, classes]`.
      weights: float32 `[N]`.

    Returns:
      `TARGETS` by name, without a batch dimension.
    """
    # Of the class: `use_targets` may have replaced the method of the instance.
    targets = type(model)._assign_targets(model, [boxes], [classes], None, [weights], None)
    return dict(zip(TARGETS, (target[0] for target in targets), strict=True))


def use_targets(model, targets: Sequence[tf.Tensor]) -> None:
    """Makes an SSD model's loss use these batched `TARGETS` instead of assigning its own."""
    model._assign_targets = lambda *_: targets


def watch_targets(model, on_targets: Callable[[dict[str, tf.Tensor]], None]) -> None:
    """Calls `on_targets` with the batched `TARGETS` whenever an SSD model's loss assigns them.

    A model without `_assign_targets`, such as Faster R-CNN, is left as it is.
    """
    if not hasattr(model, "_assign_targets"):
        return
    assign = type(model)._assign_targets

    def noted(*arguments):
        targets = assign(model, *arguments)
        on_targets(dict(zip(TARGETS, targets, strict=True)))
        return targets

    model._assign_targets = noted


def is_two_stage(model) -> bool:
    """Whether the model is a Faster R-CNN, whose `predict` in training needs the ground truth."""
    return hasattr(model, "_number_of_stages")


def normalizes_by_matches(model) -> bool | None:
    """Whether SSD losses are divided by the number of matched anchors; None for other models."""
    return getattr(model, "_normalize_loss_by_num_matches", None)


def crop_by_matrix_products(model) -> None:
    """Makes a Faster R-CNN crop its proposals with operations that TFLite has.

    As `use_matmul_crop_and_resize` in its config, which has to be set before the model is built.
    """
    from object_detection.utils import spatial_transform_ops

    model._crop_and_resize_fn = spatial_transform_ops.multilevel_matmul_crop_and_resize


@contextmanager
def sync_batch_norm() -> Iterator[None]:
    """Models built in the block take batch norm's statistics over all replicas.

    The proto has `sync_batch_norm` for that, but with it upstream builds the towers of its box
    predictors without any batch norm.
    """
    from object_detection.builders.hyperparams_builder import KerasLayerHyperparams

    kept = KerasLayerHyperparams.__init__

    def synchronized(self, *arguments, **options) -> None:
        kept(self, *arguments, **options)
        self._use_sync_batch_norm = True

    KerasLayerHyperparams.__init__ = synchronized
    try:
        yield
    finally:
        KerasLayerHyperparams.__init__ = kept


def input_transformation(pipeline: TrainEvalPipelineConfig, model) -> Callable:
    """What `inputs.train_input` does to a decoded image: augment, resize, pad.

    `train_input` builds the function and gives it to an entry of a table, together with a
    `tf.data` pipeline of its own that we do not use.
    """
    from object_detection import inputs

    kept = inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"]
    inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] = lambda *_, **given: given
    try:
        given = inputs.train_input(
            pipeline.train_config, pipeline.train_input_reader, pipeline.model, model=model
        )
    finally:
        inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] = kept
    return given["transform_input_data_fn"]


def tflite_inference(
    pipeline: TrainEvalPipelineConfig, model, most_detections: int, regular_nms: bool
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """An SSD model with `TFLite_Detection_PostProcess` at its end, not yet traced.

    Upstream's own export traces it with AutoGraph, which takes longer than all the rest.

    Returns:
      A function of the preprocessed image to tensors by the OD API's names.
    """
    from object_detection import export_tflite_graph_lib_tf2

    module = export_tflite_graph_lib_tf2.SSDModule(pipeline, model, most_detections, regular_nms)
    infer = export_tflite_graph_lib_tf2.SSDModule.inference_fn.python_function
    # The order in which it returns them: the reverse of its docstring.
    names = ("num_detections", "detection_scores", "detection_classes", "detection_boxes")
    return lambda image: dict(zip(names, infer(module, image), strict=True))


def create_slots(optimizer, variables: Sequence[tf.Variable]) -> None:
    """Creates an optimizer's momentum now, and not in the first step: a checkpoint restores it."""
    optimizer._create_all_weights(variables)


def own_trainable_weights(module: tf.Module) -> Sequence[tf.Variable]:
    """The trainable weights of a Keras layer itself, without those of layers inside it."""
    return getattr(module, "_trainable_weights", ())
