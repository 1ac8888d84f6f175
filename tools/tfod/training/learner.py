"""The OD API's model and optimizer, with a training step and an evaluation step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tfod.dataset.label_map import read_label_map
from tfod.errors import UserError
from tfod.model.build import build_model
from tfod.model.checkpoint import build_variables, restore_fine_tune_checkpoint
from tfod.model.earlier_detector import find_earlier_detector, restore_shared_classes
from tfod.model.pipeline import learning_rate_schedule, set_input_size, set_steps
from tfod.quiet import hide_native_logs
from tfod.training.accumulation import GradientSums, parts_of_batch
from tfod.training.batch_norm_averages import quick_averages
from tfod.training.events import TOTAL_LOSS
from tfod.training.frozen_batch_norm import fold_frozen_batch_norm
from tfod.training.image_losses import ImageLosses
from tfod.training.input import training_batches, validation_batches
from tfod.training.loss_scaling import scale_losses, was_skipped
from tfod.training.precision import FLOAT16, FLOAT32, convolutions_in, safe_precision
from tfod.training.schedule import cosine_decay
from tfod.training.settings import RunSettings
from tfod.training.xla import compiled_by_xla
from tfod.upstream import internals

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    Tensors = dict[str, tf.Tensor]
    Outputs = tuple[np.ndarray, np.ndarray, np.ndarray]
    Computed = TypeVar("Computed", bound=tuple)


class Learner:
    """Model, optimizer, step counter and averaged weights of a run: the content of a checkpoint.

    The training step is that of `model_lib_v2.eager_train_step`, traced once and without AutoGraph.
    Unlike upstream in TensorFlow 2, it obeys `freeze_variables` and
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

    With `accumulate`, a step computes one part of the batch after another, which needs less
    memory, and then updates the weights once. It equals a step with the whole batch, except that
    batch norm uses the statistics of each part.

    Args:
      settings: `seed` of the initial weights, `losses`, `accumulate` and `jit`.
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
        settings: RunSettings,
        resumes: bool = False,
        precision: str = FLOAT32,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(settings.seed)
        self._parts = settings.accumulate
        self._compiler = compiled_by_xla if settings.jit else nullcontext
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
        self._image_losses = ImageLosses(pipeline, self.model, settings.losses, self.step)
        self.read_errors: list[UserError] = []
        self._forget_trace()
        self._traced_evaluation = tf.function(self._evaluate, autograph=False)

    def _build(self, resumes: bool) -> None:
        import tensorflow as tf
        from object_detection.builders import optimizer_builder

        # All replicas compute the same value.
        only_first = tf.VariableAggregation.ONLY_FIRST_REPLICA
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
        self._sums = GradientSums(self._trained if self._parts > 1 else [])
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
        step = self._add_part if self._parts > 1 else self._train_on_replicas
        self._traced_step = tf.function(step, autograph=False)
        self._traced_update = tf.function(self._update_by_sums, autograph=False)

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
                part = next(parts_of_batch(self._parts, features, labels))
                step = self._traced_step.get_concrete_function(*part)
                self._step_precision = safe_precision(step.graph, self._precision)
            scale = float(self._optimizer.loss_scale) if self.scales_losses else 0.0
            with convolutions_in(self._step_precision), self._compiler():
                step = self._train_in_parts if self._parts > 1 else self._traced_step
                losses = step(features, labels)
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
        return _with_total(losses), self.model.postprocess(
            predictions, features[fields.true_image_shape]
        )

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
        (losses, _), gradients = self._gradients(partial(self._losses, features, labels))
        if self._replicas > 1:  # before clipping, which needs the norm of the summed gradients
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self._update(gradients)
        return _with_total(losses)

    def _train_in_parts(self, features: Tensors, labels: Tensors) -> Tensors:
        """Runs a step part by part, and returns the losses of the whole batch."""
        import tensorflow as tf

        parts = [self._traced_step(*part) for part in parts_of_batch(self._parts, features, labels)]
        return self._traced_update(*tf.nest.map_structure(lambda *sums: tf.add_n(sums), *parts))

    def _add_part(self, features: Tensors, labels: Tensors) -> tuple[Tensors, tf.Tensor]:
        """Adds the gradients of a part to the sums.

        Returns:
          The losses of the part, before their division by its divisor; and that divisor.
        """
        import tensorflow as tf

        internals.set_training(self.model, True)
        with quick_averages(self.model, self.step, self._parts):
            compute = partial(self._image_losses.compute, features, labels)
            (losses, divisor, _), gradients = self._gradients(compute)
        weight = tf.maximum(divisor, 1.0)
        self._sums.add([weight * gradient for gradient in gradients])
        return {name: weight * loss for name, loss in losses.items()}, divisor

    def _update_by_sums(self, losses: Tensors, divisor: tf.Tensor) -> Tensors:
        """Updates the weights by the sums, and returns the losses of the batch.

        Args:
          losses: sums of what `_add_part` returned.
          divisor: the same.
        """
        import tensorflow as tf

        weight = 1.0 / tf.maximum(divisor, 1.0)
        gradients = [weight * gradient for gradient in self._sums.take()]
        losses = {name: weight * loss for name, loss in losses.items()}
        if self._regularization_losses():
            (regularization,), others = self._gradients(lambda: (self._regularization_losses(),))
            gradients = [sum(pair) for pair in zip(gradients, others, strict=True)]
            losses |= regularization
        self._update(gradients)
        return _with_total(losses)

    def _gradients(self, compute: Callable[[], Computed]) -> tuple[Computed, list[tf.Tensor]]:
        """Computes losses, and the gradients of their sum.

        Args:
          compute: returns a tuple that begins with the losses.

        Returns:
          This tuple; and the gradients of all trained variables, 0 where the sum does not depend
          on one.
        """
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            computed = compute()
            loss = tf.add_n(list(computed[0].values()))
            if self.scales_losses:
                loss = self._optimizer.get_scaled_loss(loss)
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=zero)
        if self.scales_losses:
            gradients = self._optimizer.get_unscaled_gradients(gradients)
        return computed, gradients

    def _update(self, gradients: Sequence[tf.Tensor]) -> None:
        """Updates the weights, their averages and the step."""
        import tensorflow as tf

        if self._config.gradient_clipping_by_norm:
            limit = self._config.gradient_clipping_by_norm
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        self._optimizer.apply_gradients(
            zip(gradients, self._trained, strict=True), experimental_aggregate_gradients=False
        )
        self.step.assign_add(1)
        self._update_averages()

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
        """Returns the losses and the predictions. The sum of a replica's losses is the batch's."""
        import tensorflow as tf

        losses, divisor, predictions = self._image_losses.compute(features, labels)
        replicas = self._replicas if internals.is_training(self.model) else 1
        if replicas > 1:
            context = tf.distribute.get_replica_context()
            in_all = context.all_reduce(tf.distribute.ReduceOp.SUM, divisor)
            weight = tf.maximum(divisor, 1.0) / tf.maximum(in_all, 1.0)
            losses = {name: weight * loss for name, loss in losses.items()}
        for name, loss in self._regularization_losses().items():
            losses[name] = loss / replicas
        return losses, predictions

    def _regularization_losses(self) -> Tensors:
        """Returns the loss that depends on the weights only, if there is one."""
        import tensorflow as tf

        if not self._config.add_regularization_loss:
            return {}
        losses = self.model.regularization_losses()
        return {"Loss/regularization_loss": tf.add_n(losses)} if losses else {}


def _with_total(losses: Tensors) -> Tensors:
    import tensorflow as tf

    return {**losses, TOTAL_LOSS: tf.add_n(list(losses.values()))}


def _model_for_input(pipeline: TrainEvalPipelineConfig) -> DetectionModel:
    """Builds a model that only preprocesses images, and has the anchors of this input size."""
    import tensorflow as tf

    with tf.device("CPU"):
        model = build_model(pipeline, is_training=True)
        build_variables(model)
    return model
