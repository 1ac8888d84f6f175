"""Wraps a trained OD API model into one TensorFlow function from image to detections."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel


def detection_function(model: DetectionModel) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function that a SavedModel of the OD API contains.

    Source: `object_detection.exporter_lib_v2.DetectionFromImageModule`. Here it is traced without
    AutoGraph, which the OD API does not need and which would take most of the time.

    Args:
      model: set to inference.

    Returns:
      A `tf.function` from uint8 `[1, H, W, 3]` RGB to float32 tensors with the OD API's names:
      `detection_boxes` `[1, N, 4]` (ymin, xmin, ymax, xmax, normalized), `detection_classes`
      `[1, N]` as in the label map, `detection_scores` `[1, N]`, `num_detections` `[1]`,
      `raw_detection_boxes` and others.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")]

    @tf.function(input_signature=signature, autograph=False)
    def detect(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        images, true_shapes = model.preprocess(tf.cast(input_tensor, tf.float32))
        outputs = model.postprocess(model.predict(images, true_shapes), true_shapes)
        outputs = {name: tf.cast(value, tf.float32) for name, value in outputs.items()}
        outputs["detection_classes"] += 1  # the model counts from 0, label maps from 1
        return outputs

    return detect
