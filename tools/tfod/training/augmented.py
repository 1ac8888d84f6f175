"""Training images with their boxes as the detector gets them, to look at."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_example
from tfod.detection.detections import Detections, detections_from_outputs
from tfod.detection.drawing import draw_detections
from tfod.progress import Progress, silent, tracked
from tfod.training.input import IndexedRecords, trace
from tfod.upstream.internals import input_transformation
from tfod.upstream.stateless_random import seeded

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

IMAGES, VARIANTS = 6, 8


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """An image of the model's input size.

    Attributes:
      pixels: uint8 `[H, W, 3]` RGB.
      objects: the ground truth that is left, with scores of 1.
    """

    pixels: np.ndarray
    objects: Detections

    def draw(self) -> np.ndarray:
        """Returns the image with boxes and class names: uint8 `[H, W, 3]` RGB."""
        return draw_detections(self.pixels, self.objects, with_scores=False)


def augmented_images(
    data: Dataset, pipeline: TrainEvalPipelineConfig, progress: Progress = silent
) -> dict[str, list[TrainingImage]]:
    """Augments some images of the train split several times, as training does.

    Augmentation, input size and what becomes of the boxes are those of training. Only the pixel
    values are not normalized, so that they can be seen.

    Args:
      pipeline: configured for the data set, see `model.pipeline.configure`.
      progress: called as `progress("augmented images", done, total)`.

    Returns:
      For each of `IMAGES` images with objects, by source id: the image without augmentation, and
      `VARIANTS` with it.

    Raises:
      UserError: the data set has no train split, or a record is damaged.
    """
    records = IndexedRecords([str(shard) for shard in data.split("train").shards])
    with_objects = [index for index, classes in enumerate(records.classes()) if classes]
    count = min(IMAGES, len(with_objects))
    chosen = [with_objects[number * len(with_objects) // count] for number in range(count)]
    plain = deepcopy(pipeline)
    del plain.train_config.data_augmentation_options[:]
    original, augmented = map(_example_function, (plain, pipeline))
    images = {}
    for number, index in enumerate(tracked(chosen, progress, "augmented images", count)):
        serialized = records.read(index)
        outputs = [original(0, serialized)]
        outputs += [augmented(number * VARIANTS + turn, serialized) for turn in range(VARIANTS)]
        source_id = read_example(serialized, records.shard(index)).annotation.source_id
        images[source_id] = [_training_image(*output, data.classes) for output in outputs]
    return images


def _example_function(
    pipeline: TrainEvalPipelineConfig,
) -> Callable[[int, bytes], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Returns a function from a turn and a serialized record to pixels, boxes and class ids.

    The turn selects the random numbers, as the position of an image in a run does.
    """
    import tensorflow as tf
    from object_detection.builders import decoder_builder
    from object_detection.core.standard_fields import InputDataFields as fields

    transform = input_transformation(pipeline, _Resizer(pipeline))
    decoder = decoder_builder.build(pipeline.train_input_reader)

    def example(turn: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with seeded(0, turn):
            features, labels = transform(decoder.decode(serialized))
        count = labels[fields.num_groundtruth_boxes]
        boxes = labels[fields.groundtruth_boxes][:count]
        class_ids = tf.argmax(labels[fields.groundtruth_classes][:count], axis=1) + 1
        return features[fields.image], boxes, class_ids

    traced = trace(example, tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string))
    return lambda turn, serialized: traced(tf.constant(turn, tf.int64), tf.constant(serialized))


class _Resizer:
    """A stand-in for a model in the input pipeline, which only resizes and pads."""

    def __init__(self, pipeline: TrainEvalPipelineConfig) -> None:
        from object_detection.builders import image_resizer_builder
        from object_detection.utils import config_util

        config = config_util.get_image_resizer_config(pipeline.model)
        self._resize = image_resizer_builder.build(config)

    def preprocess(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        from object_detection.utils import shape_utils

        return shape_utils.resize_images_and_return_shapes(images, self._resize)


def _training_image(
    pixels: tf.Tensor, boxes: tf.Tensor, class_ids: tf.Tensor, classes: dict[int, str]
) -> TrainingImage:
    values = np.clip(pixels.numpy().round(), 0, 255).astype(np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))  # it may be gray
    scores = np.ones(len(boxes), np.float32)
    objects = detections_from_outputs(boxes.numpy(), scores, class_ids.numpy(), classes)
    return TrainingImage(rgb, objects)
