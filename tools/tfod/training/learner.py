"""The OD API's model and optimizer, with a training step and an evaluation step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.dataset.label_map import read_label_map
from tfod.errors import UserError
from tfod.model.build import build_model, is_simple_cnn
from tfod.model.checkpoint import build_variables, restore_fine_tune_checkpoint
from tfod.model.earlier_detector import find_earlier_detector, restore_shared_classes
from tfod.model.pipeline import learning_rate_schedule, set_input_size, set_steps
from tfod.quiet import hide_native_logs
from tfod.training.batch_norm_averages import quick_averages
from tfod.training.choices import TEMPLATE, TIGHT
from tfod.training.events import TOTAL_LOSS
from tfod.training.frozen_batch_norm import fold_frozen_batch_norm
from tfod.training.input import assigns_targets, training_batches, validation_batches
from tfod.training.loss_scaling import scale_losses, was_skipped
from tfod.training.precision import FLOAT16, FLOAT32, convolutions_in, safe_precision
from tfod.training.schedule import cosine_decay
from tfod.upstream import internals
from tfod.upstream.internals import TARGETS

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    Tensors = dict[str, tf.Tensor]
    Outputs = tuple[np.ndarray, np.ndarray, np.ndarray]


class Learner:
    """Model, optimizer, step counter and averaged weights of a run: the content of a checkpoint.

    The training step is that of `model_lib_v2.eager_train_step`, traced once and without AutoGraph.
    If the input matches the anchors (`input.assigns_targets`), the losses are bit-identical to
    upstream's. Unlike upstream in TensorFlow 2, it obeys `freeze_variables` and
    `update_trainable_variables`; frozen batch norm then uses its moving averages.

    Training steps run their convolutions in `precision`. Evaluation runs in float32, like the
    exported model.

    With float16, the loss is scaled, see `loss_scaling`. A step whose gradients overflow is
    skipped: it changes neither the weights nor the slots of the optimizer, such as momentum. `step`
    counts it, so that the order of the input and the learning rate do not depend on overflows. The
    moving averages of batch norm change, since they depend on the forward pass alone, and the
    averaged weights move towards the present ones, as in each step. The losses are those before
    scaling: a loss is not finite only if the forward pass fails.

    With several replicas, a step equals that of one device with the whole batch: the losses of a
    replica are weighted by its share of their normalizer, and batch norm in the heads and in SSD
    backbones uses statistics of all replicas.

    Args:
      seed: of the initial weights.
      resumes: the caller restores a checkpoint of the run. The fine-tune checkpoint is then not
        read and need not exist.
      precision: float32, bfloat16 or float16.
      strategy: None for the current one.

    Attributes:
      model: the DetectionModel.
      step: int64 variable: the number of completed optimizer steps.
      strategy: the `tf.distribute` strategy.
      learning_rate: a function that returns the rate of the next step.
      scales_losses: whether the checkpoint contains a loss scale.
      skipped_steps: the number of steps in a row, up to the last one, that were skipped.
      kept_classes: names of classes whose heads come from the fine-tune checkpoint.
      read_errors: of records that cannot be read. Iterating over the batches then raises an error
        of TensorFlow, which does not name the file.
    """

    def __init__(
        self,
        pipeline: TrainEvalPipelineConfig,
        seed: int,
        resumes: bool = False,
        precision: str = FLOAT32,
        strategy: tf.distribute.Strategy | None = None,
        losses: str = TEMPLATE,
    ) -> None:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(seed)
        self._loss_kind = losses
        self.strategy = strategy or tf.distribute.get_strategy()
        self._pipeline = pipeline
        self._config = pipeline.train_config
        self._most_steps = self._config.num_steps
        self._replicas = self.strategy.num_replicas_in_sync
        self._precision = precision
        self.scales_losses = precision == FLOAT16
        self.skipped_steps = 0
        with self.strategy.scope():
            self._build(resumes)
        self.read_errors: list[UserError] = []
        self._forget_trace()
        self._traced_evaluation = tf.function(self._evaluate, autograph=False)

    def _build(self, resumes: bool) -> None:
        import tensorflow as tf
        from object_detection.builders import optimizer_builder

        # All replicas compute the same value.
        only_first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._targets_in_labels = assigns_targets(self._pipeline)
        self._simple_cnn = is_simple_cnn(self._pipeline)
        with internals.sync_batch_norm() if self._replicas > 1 else nullcontext():
            self.model = build_model(self._pipeline, is_training=True)
        self.step = tf.Variable(
            0, trainable=False, dtype=tf.int64, name="global_step", aggregation=only_first
        )
        optimizer = deepcopy(self._config.optimizer)
        # Upstream swaps weights and averages by additions, which round. `averaged` assigns them.
        optimizer.use_moving_average = False
        self._optimizer, (self.learning_rate,) = optimizer_builder.build(
            optimizer, global_step=self.step
        )
        schedule = learning_rate_schedule(self._config)
        self._schedule_steps = []
        if schedule.DESCRIPTOR.name == "CosineDecayLearningRate":
            self._schedule_steps = [
                tf.Variable(steps, trainable=False, dtype=tf.int64)
                for steps in (schedule.total_steps, schedule.warmup_steps)
            ]
            self.learning_rate = partial(cosine_decay, schedule, self.step, *self._schedule_steps)
            self._optimizer.learning_rate = self.learning_rate
        if self.scales_losses:
            self._optimizer = scale_losses(self._optimizer)
        build_variables(self.model)
        self.kept_classes: tuple[str, ...] = ()
        if self._config.fine_tune_checkpoint and not resumes:
            self._restore_initial(Path(self._config.fine_tune_checkpoint))
        self._trained = self._trained_variables()
        fold_frozen_batch_norm(self.model)
        # Keras would create the momentum in the first step, too late to restore it.
        internals.create_slots(self._optimizer, self._trained)
        self._averages = []
        if self._config.optimizer.use_moving_average:
            self._averages = [
                tf.Variable(variable, trainable=False, aggregation=only_first)
                for variable in self._trained
            ]

    def _restore_initial(self, prefix: Path) -> None:
        kind = self._config.fine_tune_checkpoint_type
        restore_fine_tune_checkpoint(self.model, prefix, kind)
        if kind == "detection" and (earlier := find_earlier_detector(prefix)):
            classes = read_label_map(Path(self._pipeline.train_input_reader.label_map_path))
            self.kept_classes = restore_shared_classes(
                self.model, self._pipeline, classes, earlier, prefix
            )

    def _trained_variables(self) -> list[tf.Variable]:
        """Returns the trainable variables that the config does not freeze, as in TensorFlow 1.

        Layers without such a variable are set to not trainable.
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

    def set_steps(self, steps: int) -> None:
        """Changes the number of steps in the config, and the length of the cosine schedule."""
        set_steps(self._config, steps)
        schedule = learning_rate_schedule(self._config)
        for variable, count in zip(
            self._schedule_steps, (schedule.total_steps, schedule.warmup_steps), strict=True
        ):
            variable.assign(count)

    @property
    def steps_done(self) -> int:
        return int(self.step.numpy())

    def checkpoint(self) -> tf.train.Checkpoint:
        """Returns the state of the run in the OD API's layout, plus the averaged weights."""
        import tensorflow as tf

        averages = {"average": self._averages} if self._averages else {}
        return tf.train.Checkpoint(
            step=self.step, model=self.model, optimizer=self._optimizer, **averages
        )

    def training_batches(
        self, seed: int, balance: bool, size: int | None = None
    ) -> Iterable[tuple[Tensors, Tensors]]:
        """Returns the batches from the next step on, see `input.training_batches`.

        They end with the last step that the config had at first.

        Args:
          size: of the input in pixels; None for that of the pipeline, before the first step only:
            the model has the anchors of the input that it was traced with last.
        """
        pipeline, model = deepcopy(self._pipeline), self.model
        pipeline.train_config.num_steps = self._most_steps  # `set_steps` may follow
        if size is not None:
            set_input_size(pipeline, size)
            model = _model_for_input(pipeline)
            self._forget_trace()  # that of another size takes hundreds of megabytes
        batches = partial(
            training_batches,
            *(pipeline, model, seed, self.steps_done, balance),
            on_error=self.read_errors.append,
        )
        if self._replicas > 1:
            return self.strategy.distribute_datasets_from_function(batches)
        return batches()

    def _forget_trace(self) -> None:
        import tensorflow as tf

        self._step_precision: str | None = None  # of the traced step
        self._traced_step = tf.function(self._train_on_replicas, autograph=False)

    def validation_batches(self) -> Iterable[tuple[Tensors, Tensors]]:
        """Returns the batches of the val split, see `input.validation_batches`."""
        return validation_batches(self._pipeline, self.model, self.read_errors.append)

    def train(self, features: Tensors, labels: Tensors) -> Tensors:
        """Runs one optimizer step on a batch.

        Returns:
          Losses by OD API name, including the total.
        """
        # The graph rewrite logs to stderr, in the middle of the progress bar.
        with hide_native_logs() if self._step_precision is None else nullcontext():
            if self._step_precision is None:
                step = self._traced_step.get_concrete_function(features, labels)
                self._step_precision = safe_precision(step.graph, self._precision)
            scale = float(self._optimizer.loss_scale) if self.scales_losses else 0.0
            with convolutions_in(self._step_precision):
                losses = self._traced_step(features, labels)
        if self.scales_losses:
            skipped = was_skipped(self._optimizer, scale)
            self.skipped_steps = self.skipped_steps + 1 if skipped else 0
        return losses

    def evaluate(self, features: Tensors, labels: Tensors) -> tuple[Tensors, Outputs]:
        """Computes the losses and detections of a batch, without a training step.

        Returns:
          Losses by OD API name; and boxes `[B, N, 4]` (ymin, xmin, ymax, xmax, normalized), scores
          `[B, N]` and class ids `[B, N]` as in the label map.
        """
        losses, detections = self._traced_evaluation(features, labels)
        boxes, scores, classes = (
            detections[f"detection_{name}"].numpy() for name in ("boxes", "scores", "classes")
        )
        return losses, (boxes, scores, classes + 1)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Gives the model the averaged weights inside the block, if the config averages them."""
        current = [variable.numpy() for variable in self._trained] if self._averages else []
        for variable, average in zip(self._trained, self._averages, strict=False):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self._trained, current, strict=False):
                variable.assign(value)

    def _evaluate(self, features: Tensors, labels: Tensors) -> tuple[Tensors, Tensors]:
        from object_detection.core.standard_fields import InputDataFields as fields

        internals.set_training(self.model, False)
        losses, predictions = self._losses(features, labels)
        return losses, self.model.postprocess(predictions, features[fields.true_image_shape])

    def _train_on_replicas(self, features: Tensors, labels: Tensors) -> Tensors:
        """Runs the step on all replicas and returns the losses of the whole batch."""
        import tensorflow as tf

        with quick_averages(self.model, self.step):
            if self._replicas == 1:
                return self._train(features, labels)
            losses = self.strategy.run(self._train, args=(features, labels))
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
            for name, loss in losses.items()
        }

    def _train(self, features: Tensors, labels: Tensors) -> Tensors:
        import tensorflow as tf

        internals.set_training(self.model, True)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            losses, _ = self._losses(features, labels)
            loss = losses[TOTAL_LOSS]
            if self.scales_losses:
                loss = self._optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(loss, self._trained)
        if self.scales_losses:
            gradients = self._optimizer.get_unscaled_gradients(gradients)
        if self._replicas > 1:  # before clipping, which needs the norm of the summed gradients
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self._config.gradient_clipping_by_norm:
            limit = self._config.gradient_clipping_by_norm
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        self._optimizer.apply_gradients(
            zip(gradients, self._trained, strict=True), experimental_aggregate_gradients=False
        )
        self.step.assign_add(1)
        self._update_averages()
        return losses

    def _update_averages(self) -> None:
        """Updates the averages, with a lower decay in the first steps.

        As `tf.train.ExponentialMovingAverage` with `num_updates`.
        """
        import tensorflow as tf

        step = tf.cast(self.step, tf.float32)
        decay = tf.minimum(
            self._config.optimizer.moving_average_decay, (1.0 + step) / (10.0 + step)
        )
        for average, variable in zip(self._averages, self._trained, strict=False):
            average.assign_sub((1.0 - decay) * (average - variable))

    def _losses(self, features: Tensors, labels: Tensors) -> tuple[Tensors, Tensors]:
        """Returns the losses and the predictions."""
        import tensorflow as tf
        from object_detection.core.standard_fields import InputDataFields as fields

        true_shapes = features[fields.true_image_shape]
        # Faster R-CNN samples proposals by ground truth, in predict(). Other models get it after
        # predict(): replicas are traced in turns, switching at each synchronized batch norm, and
        # the model stores the ground truth of one batch only.
        two_stages = internals.is_two_stage(self.model)
        if two_stages:
            self._provide_ground_truth(labels)
        predictions = self.model.predict(features[fields.image], true_shapes)
        if not two_stages:
            self._provide_ground_truth(labels)
        losses = self._losses_of_predictions(predictions, labels, true_shapes)
        if self._config.add_regularization_loss and self.model.regularization_losses():
            losses["Loss/regularization_loss"] = tf.add_n(self.model.regularization_losses())
        if internals.is_training(self.model) and self._replicas > 1:
            weights = self._replica_weights(losses)
            losses = {name: weight * losses[name] for name, weight in weights.items()}
        losses[TOTAL_LOSS] = tf.add_n(list(losses.values()))
        return losses, predictions

    def _losses_of_predictions(
        self, predictions: Tensors, labels: Tensors, true_shapes: tf.Tensor
    ) -> Tensors:
        if self._loss_kind == TEMPLATE and not self._simple_cnn:
            return dict(self.model.loss(predictions, true_shapes))
        from object_detection.builders import box_coder_builder

        from tfod.training.losses import simple_cnn_losses, tight_losses

        ssd, anchors = self._pipeline.model.ssd, self.model.anchors.get()
        coder = box_coder_builder.build(ssd.box_coder)
        if self._simple_cnn:
            weight = ssd.loss.localization_weight
            return simple_cnn_losses(predictions, labels, anchors, coder, weight)
        targets = {name: labels[name] for name in TARGETS}
        self._reg_weights = targets["reg_weights"]
        return tight_losses(predictions, targets, anchors, coder)

    def _replica_weights(self, losses: Tensors) -> dict[str, tf.Tensor | float]:
        """Returns the weight of each loss of this replica in the sum over all replicas."""
        import tensorflow as tf

        # Losses are means over images, or depend on the weights only.
        weights = dict.fromkeys(losses, 1 / self._replicas)
        by_matches = self._loss_kind == TIGHT or internals.normalizes_by_matches(self.model)
        if by_matches is None or self._simple_cnn:
            return weights
        weight = 1.0
        if by_matches:
            matched = tf.reduce_sum(self._reg_weights)
            matched_in_all = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, matched
            )
            weight = tf.maximum(matched, 1.0) / tf.maximum(matched_in_all, 1.0)
        matched_losses = ("Loss/localization_loss", "Loss/classification_loss")
        return {**weights, **dict.fromkeys(matched_losses, weight)}

    def _provide_ground_truth(self, labels: Tensors) -> None:
        from object_detection import model_lib

        if self._targets_in_labels:
            self._provide_targets(labels)
            return
        unstacked = model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=self._config.unpad_groundtruth_tensors
        )
        model_lib.provide_groundtruth(self.model, unstacked, training_step=self.step)
        internals.watch_targets(self.model, self._keep_reg_weights)

    def _keep_reg_weights(self, targets: Tensors) -> None:
        self._reg_weights = targets["reg_weights"]

    def _provide_targets(self, labels: Tensors) -> None:
        """Makes the loss use the targets in the labels, instead of assigning them."""
        import tensorflow as tf

        cls_targets, cls_weights, *rest = (labels[name] for name in TARGETS)
        cls_weights = tf.broadcast_to(cls_weights, tf.shape(cls_targets))
        targets = (tf.cast(cls_targets, tf.float32), cls_weights, *rest)
        self._reg_weights = targets[TARGETS.index("reg_weights")]
        internals.use_targets(self.model, targets)
        # The loss reads the ground truth only to pass it to the assignment replaced above.
        self.model.provide_groundtruth(
            groundtruth_boxes_list=[tf.zeros([0, 4])], groundtruth_classes_list=[tf.zeros([0, 1])]
        )


def _model_for_input(pipeline: TrainEvalPipelineConfig) -> DetectionModel:
    """Builds a model that only preprocesses images, and has the anchors of this input size."""
    import tensorflow as tf

    with tf.device("CPU"):
        model = build_model(pipeline, is_training=True)
        build_variables(model)
    return model
