"""Batches to train on: the OD API's decoding, augmentation and padding, in an order by seed.

The transformation of a picture is upstream's own (`inputs.train_input`). Around it are: reading
records by their place, so that any step's batch can be asked for; traced once and without
AutoGraph, which needs ten seconds to rewrite what needs no rewriting; and for SSD models the
matching of anchors, which upstream does in the training step, for each picture of the batch anew,
with the padding as if it were boxes.
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
) -> tf.data.Dataset:
    """The batches of a run from a step on, up to its last.

    Each epoch has every record once, in an order of its own; with `balance` those with rare
    classes come more often (`sampling.balanced_epoch`).

    Args:
      model: the OD API's DetectionModel, built.
      seed: of order and augmentation.
      first_step: how many batches to leave out.
      balance: whether to show rare classes more often.
      context: of a `tf.distribute` strategy: the batches of its replicas then, one after another,
        which together are those without.

    Returns:
      (features, labels) as `inputs.train_input` gives them; labels has the `TARGETS` too where
      `assigns_targets(pipeline)`.
    """
    import tensorflow as tf

    config = pipeline.train_config
    records = _Records(pipeline.train_input_reader.tf_record_input_reader.input_path)
    epoch = balanced_epoch(records.classes()) if balance else np.arange(len(records))
    size = len(epoch)

    def record_at(turn: tf.Tensor) -> tf.Tensor:
        key = tf.stack([tf.constant(seed, tf.int64), turn // size])
        at = tf.random.experimental.index_shuffle(turn % size, key, tf.constant(size - 1, tf.int64))
        return tf.gather(epoch, at)

    turns = tf.data.Dataset.range(
        first_step * config.batch_size, config.num_steps * config.batch_size
    )
    batch = config.batch_size
    if context is not None:
        batch //= context.num_replicas_in_sync
        own = config.batch_size // context.num_input_pipelines
        first = context.input_pipeline_id * own

        def is_own(turn: tf.Tensor) -> tf.Tensor:
            place = turn % config.batch_size - first
            return (place >= 0) & (place < own)

        turns = turns.filter(tf.autograph.experimental.do_not_convert(is_own))
    examples = _examples(pipeline, model, turns, records, record_at, seed)
    return examples.batch(batch, drop_remainder=True).prefetch(2)


def validation_batches(pipeline: TrainEvalPipelineConfig, model) -> tf.data.Dataset:
    """The pictures of the evaluation reader as they are, in order, in batches as in training.

    All batches are whole: the last is filled up with the first pictures.
    """
    import tensorflow as tf

    plain = deepcopy(pipeline)
    del plain.train_config.data_augmentation_options[:]
    plain.train_input_reader.CopyFrom(pipeline.eval_input_reader[0])
    records = _Records(plain.train_input_reader.tf_record_input_reader.input_path)
    batch = min(len(records), pipeline.train_config.batch_size)
    turns = tf.data.Dataset.range(-(-len(records) // batch) * batch)
    examples = _examples(plain, model, turns, records, lambda turn: turn % len(records), 0)
    return examples.batch(batch, drop_remainder=True).prefetch(1)


def assigns_targets(pipeline: TrainEvalPipelineConfig) -> bool:
    """Whether anchors are matched in the input: SSD, one input size, one class a box."""
    from object_detection.utils import config_util

    config = pipeline.train_config
    if pipeline.model.WhichOneof("model") != "ssd":
        return False
    resizer = config_util.get_image_resizer_config(pipeline.model)
    fixed = resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer"
    return fixed and not (
        config.use_multiclass_scores
        or config.merge_multiple_label_boxes
        or pipeline.model.ssd.use_confidences_as_targets
    )


class _Records:
    """The records of TFRecord files by number."""

    def __init__(self, shards: Sequence[str]) -> None:
        self.shards = [Path(shard) for shard in shards]
        self.places = [
            (number, at, length)
            for number, shard in enumerate(self.shards)
            for at, length in tfrecord.record_places(shard)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def classes(self) -> list[set[str]]:
        """For each record, the classes it shows."""
        return [
            {box.name for box in record.annotation.objects} for record in read_records(self.shards)
        ]

    def read(self, number: np.int64) -> bytes:
        shard, at, length = self.places[number]
        return tfrecord.read_record(self.shards[shard], at, length)


def _examples(
    pipeline: TrainEvalPipelineConfig,
    model,
    turns: tf.data.Dataset,
    records: _Records,
    record_at: Callable[[tf.Tensor], tf.Tensor],
    seed: int,
) -> tf.data.Dataset:
    """One (features, labels) a turn."""
    import tensorflow as tf
    from object_detection.builders import decoder_builder

    transform = input_transformation(pipeline, model)
    decoder = decoder_builder.build(pipeline.train_input_reader)
    assign = assigns_targets(pipeline)

    def example(turn: tf.Tensor, serialized: tf.Tensor):
        with seeded(seed, turn):
            features, labels = transform(decoder.decode(serialized))
        if assign:
            labels |= _assign(model, labels)
        return features, labels

    traced = trace(example, tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string))
    if left := stateful_operations(traced.graph):
        log.warning("an augmentation draws by %s: a resumed run will differ", ", ".join(left))

    def read(turn: tf.Tensor):
        data = tf.numpy_function(records.read, [record_at(turn)], tf.string, stateful=False)
        return turn, tf.ensure_shape(data, [])

    read_without_autograph = tf.autograph.experimental.do_not_convert(read)
    return turns.map(read_without_autograph, tf.data.AUTOTUNE).map(
        tf.autograph.experimental.do_not_convert(traced),
        tf.data.AUTOTUNE,
    )


def trace(function: Callable, *signature: tf.TensorSpec) -> Callable:
    """The traced function; without AutoGraph, which takes long, unless it cannot be done without.

    Almost all of upstream was written before AutoGraph. `random_square_crop_by_scale` was not.
    """
    import tensorflow as tf

    try:
        return tf.function(function, autograph=False).get_concrete_function(*signature)
    except tf.errors.OperatorNotAllowedInGraphError:
        return tf.function(function).get_concrete_function(*signature)


def _assign(model, labels: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The `TARGETS` of one picture: upstream's, of its boxes without the padding."""
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
    # Of 0 and 1, and the same for each class: a batch of many classes would be gigabytes.
    targets["cls_targets"] = tf.cast(targets["cls_targets"], tf.uint8)
    targets["cls_weights"] = targets["cls_weights"][:, :1]
    return targets
