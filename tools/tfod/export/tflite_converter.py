"""An OD API model -> TFLite, in the number formats that phones like."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tfod.detection.tflite_input import TFLiteInput
from tfod.model.pipeline import architecture
from tfod.quiet import native_chatter_held
from tfod.upstream.internals import crop_by_matrix_products, tflite_inference

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

FLOAT32, FLOAT16, DYNAMIC, INT8 = VARIANTS = ("float32", "float16", "dynamic", "int8")
# How boxes that overlap are suppressed, by upstream's names. Regular: within a class. LiteRT's code
# for it never looks at class number T, from 0, when it may use T threads, T > 1
# (tensorflow/tensorflow issue 56058). Fast: without regard to class, by each anchor's best one.
REGULAR, FAST = SUPPRESSIONS = ("regular", "fast")
# What scores less is not even sorted, which with `regular` took half of the time for a picture. On
# the road signs' validation split AP stays the same to four digits, with 100 detections as before.
LEAST_SCORE = 0.02
IDENTITY = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def convert_to_tflite(
    model,
    pipeline: TrainEvalPipelineConfig,
    variants: Sequence[str],
    pictures: Callable[[], Iterator[np.ndarray]],
    suppression: str,
) -> Iterator[tuple[str, TFLiteInput, bytes]]:
    """Converts an SSD or Faster R-CNN model that is set to inference, post-processing included.

    Upstream's `export_tflite_graph_tf2.py` knows SSD only, keeps 10 detections and suppresses boxes
    without regard to their class; this keeps as many as the pipeline.config says. Outputs are named
    as in a SavedModel; classes count from 0.

    Args:
      variants: of `VARIANTS`: `float32`; `float16`, weights of 2 bytes; `dynamic`, weights of 1
        byte and arithmetic in whatever the processor likes; `int8`, all in 1 byte, with pixels as
        they are for input, uint8.
      pictures: called for `int8`, yields some hundred pictures as the model will see, uint8
        `[H, W, 3]` RGB: the range of every activation is taken from them.
      suppression: of `SUPPRESSIONS`, for SSD; Faster R-CNN suppresses as its config says.

    Yields:
      Variant, how its input is made, and the file's content without metadata.
    """
    import tensorflow as tf

    normalized = describe_input(model, pipeline)
    scale, offset = IDENTITY
    pixels = replace(normalized, scale=scale, offset=offset)
    # MediaPipe normalizes all channels alike; a network that needs more does it itself. So does
    # int8, whose zero has to be a number of its own: MobileNet's is between pixels 127 and 128.
    alike = len(set(normalized.scale)) == len(set(normalized.offset)) == 1
    outside = [each for each in variants if alike and each != INT8]
    inside = [each for each in variants if each not in outside]
    for given, chosen in ((normalized, outside), (pixels, inside)):
        if not chosen:
            continue
        before = normalized if given is pixels else None
        with _saved_for_conversion(model, pipeline, given, before, suppression) as folder:
            for variant in chosen:
                with native_chatter_held():
                    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                    _set_up(converter, variant, partial(_inputs, given, pictures))
                    content = converter.convert()
                yield variant, given, content


def loses_a_class(pipeline: TrainEvalPipelineConfig, suppression: str) -> bool:
    """Whether LiteRT, with some number of threads, never reports one of the classes."""
    # With two classes there is no class number 2.
    return (
        pipeline.model.HasField("ssd")
        and suppression == REGULAR
        and pipeline.model.ssd.num_classes > 2
    )


def convertible(pipeline: TrainEvalPipelineConfig) -> bool:
    """Whether a model's input has one shape, as a `.tflite` wants it."""
    resizer = architecture(pipeline).image_resizer
    return resizer.HasField("fixed_shape_resizer") or (
        _is_two_stage(pipeline) and resizer.keep_aspect_ratio_resizer.pad_to_max_dimension
    )


def describe_input(model, pipeline: TrainEvalPipelineConfig) -> TFLiteInput:
    """Reads off how a model normalizes pixels, by showing it a black and a white picture.

    Every feature extractor of the OD API maps a channel linearly (MobileNet to [-1, 1], ResNet by
    subtracting the ImageNet mean), so that two points tell all.
    """
    import tensorflow as tf

    resizer, shortest = architecture(pipeline).image_resizer, None
    if resizer.HasField("fixed_shape_resizer"):
        height, width = resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    else:
        height = width = resizer.keep_aspect_ratio_resizer.max_dimension
        shortest = resizer.keep_aspect_ratio_resizer.min_dimension
    black, white = (
        model.preprocess(tf.fill([1, height, width, 3], value))[0].numpy()[0, 0, 0]
        for value in (0.0, 255.0)
    )
    scale, offset = (white - black) / 255, black
    return TFLiteInput(height, width, tuple(scale.tolist()), tuple(offset.tolist()), shortest)


@contextmanager
def _saved_for_conversion(
    model,
    pipeline: TrainEvalPipelineConfig,
    given: TFLiteInput,
    normalization: TFLiteInput | None,
    suppression: str,
) -> Iterator[str]:
    """A SavedModel as the converter wants it, without AutoGraph."""
    import tensorflow as tf

    detect_in = (
        _two_stages(model, given) if _is_two_stage(pipeline) else _ssd(model, pipeline, suppression)
    )

    @tf.function(autograph=False)
    def detect(image):
        if normalization is not None:
            image = image * tf.constant(normalization.scale) + tf.constant(normalization.offset)
        return detect_in(image)

    shape = [1, given.height, given.width, 3]
    module = tf.Module()
    with tempfile.TemporaryDirectory() as folder:
        # Tracing chats, too: upstream runs a session of TensorFlow 1 to make its anchors constants.
        with native_chatter_held():
            signature = detect.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
            # Its variables and no more: Keras layers would each be traced once more to be saved.
            module.variables_used = list(signature.graph.variables)
            tf.saved_model.save(module, folder, signatures=signature)
        yield folder


def _is_two_stage(pipeline: TrainEvalPipelineConfig) -> bool:
    return pipeline.model.HasField("faster_rcnn")


def _ssd(model, pipeline: TrainEvalPipelineConfig, suppression: str) -> Callable:
    with_floor = type(pipeline)()
    with_floor.CopyFrom(pipeline)
    nms = with_floor.model.ssd.post_processing.batch_non_max_suppression
    nms.score_threshold = max(nms.score_threshold, LEAST_SCORE)
    kept = nms.max_total_detections
    return tflite_inference(with_floor, model, kept, suppression == REGULAR)


def _two_stages(model, given: TFLiteInput) -> Callable:
    """Faster R-CNN in TFLite's own operations: it has no `CropAndResize`, products of matrices do.

    As with `use_matmul_crop_and_resize` in its config. Boxes are shares of the tensor, not of the
    part that a picture fills.
    """
    import tensorflow as tf

    crop_by_matrix_products(model)
    shapes = tf.constant([[given.height, given.width, 3]])

    def detect(image):
        found = model.postprocess(model.predict(image, shapes), shapes)
        names = ("num_detections", "detection_scores", "detection_classes", "detection_boxes")
        return {name: found[name] for name in names}

    return detect


def _inputs(
    given: TFLiteInput, pictures: Callable[[], Iterator[np.ndarray]]
) -> Iterator[list[np.ndarray]]:
    return ([given.prepare(picture)] for picture in pictures())


def _set_up(converter: tf.lite.TFLiteConverter, variant: str, inputs: Callable) -> None:
    import tensorflow as tf

    if variant == FLOAT32:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if variant == INT8:
        converter.representative_dataset = inputs
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,  # the suppression of boxes is in float32
        ]
        converter.inference_input_type = tf.uint8
