"""What learns in a run: the OD API's model, its optimizer, and one step of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.model.checkpoint import build_variables, restore_fine_tune_checkpoint
from tfod.quiet import native_chatter_held
from tfod.training.input import assigns_targets
from tfod.training.precision import FLOAT32, convolutions_in, safe_for
from tfod.upstream import internals
from tfod.upstream.internals import TARGETS

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    Outputs = tuple[np.ndarray, np.ndarray, np.ndarray]

TOTAL_LOSS = "Loss/total_loss"


class Learner:
    """Model, optimizer, step counter and averaged weights of a run: what a checkpoint holds.

    The step is upstream's `model_lib_v2.eager_train_step`, traced once and without AutoGraph. Where
    anchors are matched in the input (`training_input.assigns_targets`) the loss is upstream's with
    those targets, bit for bit. `freeze_variables` and `update_trainable_variables` are obeyed,
    which upstream did for TensorFlow 1 only.

    Steps have their convolutions in `precision`, judging is in float32 as the exported model is.

    On several replicas a step is that of the whole batch: each replica's losses are weighted by its
    share of what they are normalized by, and batch norm of heads and SSD backbones takes its
    statistics of all, so that a run is the same however it is spread.

    One that resumes is filled from a checkpoint of its own; the one it began with may be gone.

    Attributes:
      model: the DetectionModel.
      step: int64 variable: optimizer steps done.
      learning_rate: called, gives the rate of the next step.
    """

    def __init__(
        self,
        pipeline: TrainEvalPipelineConfig,
        seed: int,
        resumes: bool = False,
        precision: str = FLOAT32,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(seed)
        self.strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self.strategy.num_replicas_in_sync
        with self.strategy.scope():
            self._build(pipeline, resumes, precision)
        self._traced = False
        self._traced_step = tf.function(self._train_together, autograph=False)
        self._traced_evaluation = tf.function(self._evaluate, autograph=False)

    def _build(self, pipeline: TrainEvalPipelineConfig, resumes: bool, precision: str) -> None:
        import tensorflow as tf
        from object_detection.builders import model_builder, optimizer_builder

        only_first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # all of them compute the same
        self._config = pipeline.train_config
        self._precision = precision
        self._targets_given = assigns_targets(pipeline)
        with internals.sync_batch_norm() if self._replicas > 1 else nullcontext():
            self.model = model_builder.build(pipeline.model, is_training=True, add_summaries=False)
        self.step = tf.Variable(
            0, trainable=False, dtype=tf.int64, name="global_step", aggregation=only_first
        )
        plain = deepcopy(self._config.optimizer)
        plain.use_moving_average = False  # upstream's swaps by sums, which round; ours is below
        self._optimizer, (self.learning_rate,) = optimizer_builder.build(
            plain, global_step=self.step
        )
        build_variables(self.model)
        if self._config.fine_tune_checkpoint and not resumes:
            restore_fine_tune_checkpoint(
                self.model,
                Path(self._config.fine_tune_checkpoint),
                self._config.fine_tune_checkpoint_type,
            )
        self._trained = self._trained_variables()
        # Momentum is made at the first step; make it now, so that a checkpoint restores it.
        internals.create_slots(self._optimizer, self._trained)
        self._average = []
        if self._config.optimizer.use_moving_average:
            self._average = [
                tf.Variable(variable, trainable=False, aggregation=only_first)
                for variable in self._trained
            ]

    def _trained_variables(self) -> list[tf.Variable]:
        """The trainable variables that the config does not freeze, as TensorFlow 1's loop chose.

        A layer that is frozen whole is set so: its batch norm then uses the running averages.
        """
        only, frozen = self._config.update_trainable_variables, self._config.freeze_variables

        def is_trained(variable: tf.Variable) -> bool:
            return (not only or any(re.match(p, variable.name) for p in only)) and not any(
                re.match(pattern, variable.name) for pattern in frozen
            )

        for module in self.model.submodules:
            variables = internals.own_trainable_weights(module)
            if variables and not any(map(is_trained, variables)):
                module.trainable = False
        return [variable for variable in self.model.trainable_variables if is_trained(variable)]

    @property
    def steps_done(self) -> int:
        return int(self.step.numpy())

    def checkpoint(self) -> tf.train.Checkpoint:
        """All that a run needs to go on, in the OD API's layout, and the averages beside."""
        import tensorflow as tf

        average = {"average": self._average} if self._average else {}
        return tf.train.Checkpoint(
            step=self.step, model=self.model, optimizer=self._optimizer, **average
        )

    def train(self, features: dict, labels: dict) -> dict[str, tf.Tensor]:
        """One step on a batch; its losses by the OD API's names, the total too."""
        # What rewrites the graph says so, in the middle of a progress bar.
        chatter = nullcontext() if self._traced else native_chatter_held()
        with chatter:
            if not self._traced:
                step = self._traced_step.get_concrete_function(features, labels)
                self._precision = safe_for(step.graph, self._precision)
            with convolutions_in(self._precision):
                losses = self._traced_step(features, labels)
        self._traced = True
        return losses

    def evaluate(self, features: dict, labels: dict) -> tuple[dict[str, tf.Tensor], Outputs]:
        """The losses of a batch, and what is detected in it. Nothing is learned.

        Returns:
          Losses by the OD API's names; and boxes `[B, N, 4]` (ymin, xmin, ymax, xmax, normalized),
          scores `[B, N]`, class ids `[B, N]` as in the label map.
        """
        losses, detections = self._traced_evaluation(features, labels)
        boxes, scores, classes = (
            detections[f"detection_{name}"].numpy() for name in ("boxes", "scores", "classes")
        )
        return losses, (boxes, scores, classes + 1)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts, the model has the averaged weights, where they are kept."""
        own = [variable.numpy() for variable in self._trained] if self._average else []
        for variable, average in zip(self._trained, self._average, strict=False):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self._trained, own, strict=False):
                variable.assign(value)

    def _evaluate(self, features: dict, labels: dict) -> tuple[dict, dict]:
        from object_detection.core.standard_fields import InputDataFields as fields

        internals.set_training(self.model, False)
        losses, predictions = self._losses(features, labels)
        return losses, self.model.postprocess(predictions, features[fields.true_image_shape])

    def _train_together(self, features: dict, labels: dict) -> dict[str, tf.Tensor]:
        """The step on all replicas; losses of the whole batch."""
        import tensorflow as tf

        if self._replicas == 1:
            return self._train(features, labels)
        losses = self.strategy.run(self._train, args=(features, labels))
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
            for name, loss in losses.items()
        }

    def _train(self, features: dict, labels: dict) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        internals.set_training(self.model, True)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            losses, _ = self._losses(features, labels)
        gradients = tape.gradient(losses[TOTAL_LOSS], self._trained)
        if self._replicas > 1:  # before they are clipped, which is by the norm of all
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self._config.gradient_clipping_by_norm:
            limit = self._config.gradient_clipping_by_norm
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        self._optimizer.apply_gradients(
            zip(gradients, self._trained, strict=True), experimental_aggregate_gradients=False
        )
        self.step.assign_add(1)
        self._follow()
        return losses

    def _follow(self) -> None:
        """Moves the averages, fast in the beginning (`tf.train.ExponentialMovingAverage`)."""
        import tensorflow as tf

        step = tf.cast(self.step, tf.float32)
        decay = tf.minimum(
            self._config.optimizer.moving_average_decay, (1.0 + step) / (10.0 + step)
        )
        for average, variable in zip(self._average, self._trained, strict=False):
            average.assign_sub((1.0 - decay) * (average - variable))

    def _losses(self, features: dict, labels: dict) -> tuple[dict[str, tf.Tensor], dict]:
        """Losses, and the predictions they are of."""
        import tensorflow as tf
        from object_detection.core.standard_fields import InputDataFields as fields

        true_shapes = features[fields.true_image_shape]
        two_stages = internals.is_two_stage(self.model)  # chooses proposals by ground truth
        if two_stages:
            self._provide_ground_truth(labels)
        predictions = self.model.predict(features[fields.image], true_shapes)
        # Not before predict() where it can be: replicas are traced in turns, changing over where
        # batch norm waits for the others, and the model has room for one batch's ground truth.
        if not two_stages:
            self._provide_ground_truth(labels)
        losses = dict(self.model.loss(predictions, true_shapes))
        if self._config.add_regularization_loss and self.model.regularization_losses():
            losses["Loss/regularization_loss"] = tf.add_n(self.model.regularization_losses())
        if internals.is_training(self.model) and self._replicas > 1:
            shares = self._shares(losses)
            losses = {name: share * losses[name] for name, share in shares.items()}
        losses[TOTAL_LOSS] = tf.add_n(list(losses.values()))
        return losses, predictions

    def _shares(self, losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor | float]:
        """What each loss of this replica is to be multiplied by for the sum of all to be right."""
        import tensorflow as tf

        shares = dict.fromkeys(losses, 1 / self._replicas)  # means over pictures, or of weights
        by_matches = internals.normalizes_by_matches(self.model)
        if by_matches is None:
            return shares
        share = 1.0
        if by_matches:
            matched = tf.reduce_sum(self._reg_weights)
            of_all = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, matched
            )
            share = tf.maximum(matched, 1.0) / tf.maximum(of_all, 1.0)
        matched_losses = ("Loss/localization_loss", "Loss/classification_loss")
        return {**shares, **dict.fromkeys(matched_losses, share)}

    def _provide_ground_truth(self, labels: dict) -> None:
        from object_detection import model_lib

        if self._targets_given:
            self._provide_targets(labels)
            return
        unstacked = model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=self._config.unpad_groundtruth_tensors
        )
        model_lib.provide_groundtruth(self.model, unstacked, training_step=self.step)
        internals.watch_targets(self.model, self._keep_weights)

    def _keep_weights(self, targets: dict[str, tf.Tensor]) -> None:
        self._reg_weights = targets["reg_weights"]

    def _provide_targets(self, labels: dict) -> None:
        """Lets the model's loss take the targets of the batch in place of assigning them."""
        import tensorflow as tf

        cls_targets, cls_weights, *rest = (labels[name] for name in TARGETS)
        cls_weights = tf.broadcast_to(cls_weights, tf.shape(cls_targets))
        targets = (tf.cast(cls_targets, tf.float32), cls_weights, *rest)
        self._reg_weights = targets[TARGETS.index("reg_weights")]
        internals.use_targets(self.model, targets)
        # The loss passes these on to the line above.
        self.model.provide_groundtruth(
            groundtruth_boxes_list=[tf.zeros([0, 4])], groundtruth_classes_list=[tf.zeros([0, 1])]
        )
