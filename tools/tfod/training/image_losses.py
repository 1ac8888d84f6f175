"""The losses of a batch of images: those of the OD API's model, or those of `losses`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfod.model.build import is_simple_cnn
from tfod.training.choices import TIGHT
from tfod.training.input import assigns_targets
from tfod.upstream import internals
from tfod.upstream.internals import TARGETS

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    Tensors = dict[str, tf.Tensor]


class ImageLosses:
    """Computes the losses that depend on images.

    If the input matches the anchors (`input.assigns_targets`), the losses are bit-identical to
    upstream's.

    Args:
      kind: see `choices`.
      step: the number of completed optimizer steps.
    """

    def __init__(
        self, pipeline: TrainEvalPipelineConfig, model: DetectionModel, kind: str, step: tf.Variable
    ) -> None:
        self._pipeline, self._model, self._kind, self._step = pipeline, model, kind, step
        self._targets_in_labels = assigns_targets(pipeline)
        self._simple_cnn = is_simple_cnn(pipeline)

    def compute(self, features: Tensors, labels: Tensors) -> tuple[Tensors, tf.Tensor, Tensors]:
        """Runs the model.

        Returns:
          Losses by OD API name; what they were divided by, before its lower limit of 1: the number
          of matched anchors, 1 for a mean over the images, or 0 for a sum; and the predictions.
        """
        from object_detection.core.standard_fields import InputDataFields as fields

        true_shapes = features[fields.true_image_shape]
        # Faster R-CNN samples proposals by ground truth, in predict(). Other models get it after
        # predict(): replicas are traced in turns, switching at each synchronized batch norm, and
        # the model stores the ground truth of one batch only.
        two_stages = internals.is_two_stage(self._model)
        if two_stages:
            self._provide_ground_truth(labels)
        predictions = self._model.predict(features[fields.image], true_shapes)
        if not two_stages:
            self._provide_ground_truth(labels)
        if self._kind == TIGHT or self._simple_cnn:
            losses = self._own_losses(predictions, labels)
        else:
            losses = dict(self._model.loss(predictions, true_shapes))
        return losses, self._divisor(), predictions

    def _own_losses(self, predictions: Tensors, labels: Tensors) -> Tensors:
        from object_detection.builders import box_coder_builder

        from tfod.training.losses import simple_cnn_losses, tight_losses

        ssd, anchors = self._pipeline.model.ssd, self._model.anchors.get()
        coder = box_coder_builder.build(ssd.box_coder)
        if self._simple_cnn:
            weight = ssd.loss.localization_weight
            return simple_cnn_losses(predictions, labels, anchors, coder, weight)
        targets = {name: labels[name] for name in TARGETS}
        return tight_losses(predictions, targets, anchors, coder)

    def _divisor(self) -> tf.Tensor:
        import tensorflow as tf

        by_matches = self._kind == TIGHT or internals.normalizes_by_matches(self._model)
        if by_matches is None or self._simple_cnn:
            return tf.constant(1.0)
        return tf.reduce_sum(self._reg_weights) if by_matches else tf.constant(0.0)

    def _provide_ground_truth(self, labels: Tensors) -> None:
        from object_detection import model_lib

        if self._targets_in_labels:
            self._provide_targets(labels)
            return
        unpad = self._pipeline.train_config.unpad_groundtruth_tensors
        unstacked = model_lib.unstack_batch(labels, unpad_groundtruth_tensors=unpad)
        model_lib.provide_groundtruth(self._model, unstacked, training_step=self._step)
        internals.watch_targets(self._model, self._keep_reg_weights)

    def _keep_reg_weights(self, targets: Tensors) -> None:
        self._reg_weights = targets["reg_weights"]

    def _provide_targets(self, labels: Tensors) -> None:
        """Makes the loss use the targets in the labels, instead of assigning them."""
        import tensorflow as tf

        cls_targets, cls_weights, *rest = (labels[name] for name in TARGETS)
        cls_weights = tf.broadcast_to(cls_weights, tf.shape(cls_targets))
        targets = (tf.cast(cls_targets, tf.float32), cls_weights, *rest)
        self._reg_weights = targets[TARGETS.index("reg_weights")]
        internals.use_targets(self._model, targets)
        # The loss reads the ground truth only to pass it to the assignment replaced above.
        self._model.provide_groundtruth(
            groundtruth_boxes_list=[tf.zeros([0, 4])], groundtruth_classes_list=[tf.zeros([0, 1])]
        )
