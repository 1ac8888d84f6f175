"""Detection with a trained OD API model, as one TensorFlow function."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def detection_function(model) -> tf.types.experimental.PolymorphicFunction:
    """What a SavedModel of the OD API computes, for a DetectionModel that is set to inference.

    As upstream's `exporter_lib_v2.DetectionFromImageModule`, traced without AutoGraph, which it
    does not need and which takes longer than all else here.

    Returns:
      A `tf.function` of uint8 `[1, H, W, 3]` RGB to float32 tensors by the OD API's names:
      `detection_boxes` `[1, N, 4]` (ymin, xmin, ymax, xmax, normalized), `detection_classes` as in
      the label map, `detection_scores`, `num_detections`, `raw_detection_boxes` and more.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")]

    @tf.function(input_signature=signature, autograph=False)
    def detect(input_tensor):
        images, true_shapes = model.preprocess(tf.cast(input_tensor, tf.float32))
        found = model.postprocess(model.predict(images, true_shapes), true_shapes)
        found = {name: tf.cast(value, tf.float32) for name, value in found.items()}
        found["detection_classes"] += 1  # the model counts from 0, label maps from 1
        return found

    return detect
