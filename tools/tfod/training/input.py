"""Training and validation batches: decoding, augmentation and padding of the OD API.

Each image goes through the OD API's own transformation (`inputs.train_input`). Three things differ
from upstream:

- Records are read by index, in an order that depends only on the seed, so that a run can start at
  any step.
- The transformation is traced once, and without AutoGraph, which would take ten seconds and change
  nothing.
- SSD anchors are matched here, per image and without padding. Upstream matches them in the training
  step, and treats padding as boxes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfod.dataset import tfrecord
from tfod.dataset.records import read_records
from tfod.errors import UserError
from tfod.model.build import is_simple_cnn
from tfod.training.class_balance import balanced_epoch
from tfod.upstream.internals import assign_targets, input_transformation
from tfod.upstream.stateless_random import seeded, stateful_operations

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

log = logging.getLogger(__name__)


def training_batches(
    pipeline: TrainEvalPipelineConfig,
    model,
    seed: int,
    first_step: int = 0,
    balance: bool = False,
    context: tf.distribute.InputContext | None = None,
    on_error: Callable[[UserError], None] = lambda error: None,
) -> tf.data.Dataset:
    """Returns the batches of a run, up to its last step.

    Every epoch contains each record once, in a new order; with `balance`, records with rare classes
    are repeated (`class_balance.balanced_epoch`).

    Args:
      model: the OD API's DetectionModel, built.
      seed: of the order and the augmentation.
      first_step: number of batches to skip.
      balance: repeats images of rare classes.
      context: from a `tf.distribute` strategy. The result is then the part of each batch for the
        replicas of this input pipeline, one replica after another.
      on_error: called, on another thread, with the error of a record that cannot be read, before
        TensorFlow raises its own.

    Returns:
      (features, labels) as from `inputs.train_input`, with a leading batch dimension. The labels
      also contain `TARGETS` if `assigns_targets(pipeline)`.
    """
    import tensorflow as tf

    config = pipeline.train_config
    records = IndexedRecords(
        pipeline.train_input_reader.tf_record_input_reader.input_path, on_error
    )
    epoch = balanced_epoch(records.classes()) if balance else np.arange(len(records))
    size = len(epoch)

    def record_index(position: tf.Tensor) -> tf.Tensor:
        key = tf.stack([tf.constant(seed, tf.int64), position // size])
        shuffled = tf.random.experimental.index_shuffle(
            position % size, key, tf.constant(size - 1, tf.int64)
        )
        return tf.gather(epoch, shuffled)

    # Positions number all images of the run in the order of training.
    positions = tf.data.Dataset.range(
        first_step * config.batch_size, config.num_steps * config.batch_size
    )
    batch_size = config.batch_size
    if context is not None:
        batch_size //= context.num_replicas_in_sync
        share = config.batch_size // context.num_input_pipelines
        first = context.input_pipeline_id * share

        def is_local(position: tf.Tensor) -> tf.Tensor:
            offset = position % config.batch_size - first
            return (offset >= 0) & (offset < share)

        positions = positions.filter(tf.autograph.experimental.do_not_convert(is_local))
    examples = _examples(pipeline, model, positions, records, record_index, seed)
    return examples.batch(batch_size, drop_remainder=True).prefetch(2)


def validation_batches(
    pipeline: TrainEvalPipelineConfig,
    model,
    on_error: Callable[[UserError], None] = lambda error: None,
) -> tf.data.Dataset:
    """Returns the images of the evaluation reader, in file order and without augmentation.

    All batches have the size of training batches, or that of a smaller split. The last one is
    filled up with the first images. For `on_error` see `training_batches`.
    """
    import tensorflow as tf

    evaluation = deepcopy(pipeline)
    del evaluation.train_config.data_augmentation_options[:]
    evaluation.train_input_reader.CopyFrom(pipeline.eval_input_reader[0])
    records = IndexedRecords(
        evaluation.train_input_reader.tf_record_input_reader.input_path, on_error
    )
    batch_size = min(len(records), pipeline.train_config.batch_size)
    positions = tf.data.Dataset.range(-(-len(records) // batch_size) * batch_size)

    def record_index(position: tf.Tensor) -> tf.Tensor:
        return position % len(records)

    examples = _examples(evaluation, model, positions, records, record_index, seed=0)
    return examples.batch(batch_size, drop_remainder=True).prefetch(1)


def assigns_targets(pipeline: TrainEvalPipelineConfig) -> bool:
    """Whether the input matches anchors: SSD models with a fixed input size and one class per box.

    The other models match anchors in the training step, except the simple CNN, which has none.
    """
    from object_detection.utils import config_util

    config = pipeline.train_config
    if pipeline.model.WhichOneof("model") != "ssd" or is_simple_cnn(pipeline):
        return False
    resizer = config_util.get_image_resizer_config(pipeline.model)
    fixed = resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer"
    return fixed and not (
        config.use_multiclass_scores
        or config.merge_multiple_label_boxes
        or pipeline.model.ssd.use_confidences_as_targets
    )


class IndexedRecords:
    """Records of TFRecord files, accessed by index.

    Args:
      on_error: called with an error of `read` before it is raised.
    """

    def __init__(
        self, shards: Sequence[str], on_error: Callable[[UserError], None] = lambda error: None
    ) -> None:
        self.shards, self.on_error = [Path(shard) for shard in shards], on_error
        self.places = [
            (number, offset, length)
            for number, shard in enumerate(self.shards)
            for offset, length in tfrecord.record_places(shard)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def classes(self) -> list[set[str]]:
        """Returns the classes in each record."""
        return [
            {box.name for box in record.annotation.objects} for record in read_records(self.shards)
        ]

    def shard(self, index: int) -> Path:
        """Returns the file of a record."""
        return self.shards[self.places[index][0]]

    def read(self, index: int) -> bytes:
        """Returns the serialized `tf.train.Example`."""
        _, offset, length = self.places[index]
        try:
            return tfrecord.read_record(self.shard(index), offset, length)
        except UserError as error:
            self.on_error(error)
            raise


def _examples(
    pipeline: TrainEvalPipelineConfig,
    model,
    positions: tf.data.Dataset,
    records: IndexedRecords,
    record_index: Callable[[tf.Tensor], tf.Tensor],
    seed: int,
) -> tf.data.Dataset:
    """Returns one (features, labels) per position."""
    import tensorflow as tf
    from object_detection.builders import decoder_builder

    transform = input_transformation(pipeline, model)
    decoder = decoder_builder.build(pipeline.train_input_reader)
    assign = assigns_targets(pipeline)

    def example(position: tf.Tensor, serialized: tf.Tensor):
        with seeded(seed, position):
            features, labels = transform(decoder.decode(serialized))
        if assign:
            labels |= _image_targets(model, labels)
        return features, labels

    traced = trace(example, tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string))
    if operations := stateful_operations(traced.graph):
        log.warning(
            "an augmentation uses the random operations %s, which ignore the seed: "
            "a resumed run will differ",
            ", ".join(operations),
        )

    def read(position: tf.Tensor):
        index = record_index(position)
        data = tf.numpy_function(records.read, [index], tf.string, stateful=False)
        return position, tf.ensure_shape(data, [])

    read_without_autograph = tf.autograph.experimental.do_not_convert(read)
    # Without autotuning, AUTOTUNE means one call per core, up to 16. The autotuner's thread sleeps
    # up to a minute, and the end of a training often waits for it: it is woken before it can see
    # that it was cancelled.
    without_autotuning = tf.data.Options()
    without_autotuning.autotune.enabled = False
    return (
        positions.map(read_without_autograph, tf.data.AUTOTUNE)
        .map(tf.autograph.experimental.do_not_convert(traced), tf.data.AUTOTUNE)
        .with_options(without_autotuning)
    )


def trace(function: Callable, *signature: tf.TensorSpec) -> tf.types.experimental.ConcreteFunction:
    """Traces a function without AutoGraph, which is slow, or with it if the function needs it.

    Nearly all of the OD API was written before AutoGraph. `random_square_crop_by_scale` was not.
    """
    import tensorflow as tf

    try:
        return tf.function(function, autograph=False).get_concrete_function(*signature)
    except tf.errors.OperatorNotAllowedInGraphError:
        return tf.function(function).get_concrete_function(*signature)


def _image_targets(model, labels: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns the `TARGETS` of one image, computed from its boxes without padding."""
    import tensorflow as tf
    from object_detection.core.standard_fields import InputDataFields as fields

    count = labels[fields.num_groundtruth_boxes]
    boxes, classes, weights = (
        labels[name][:count]
        for name in (
            fields.groundtruth_boxes,
            fields.groundtruth_classes,
            fields.groundtruth_weights,
        )
    )
    targets = assign_targets(model, boxes, classes, weights)
    # The targets are 0 or 1, and the weights are equal for all classes. Stored in full, a batch
    # with many classes would take gigabytes.
    targets["cls_targets"] = tf.cast(targets["cls_targets"], tf.uint8)
    targets["cls_weights"] = targets["cls_weights"][:, :1]
    return targets
