"""Converts an OD API model to TFLite: float32, float16, dynamic range and int8."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tfod.detection.tflite_input import TFLiteInput
from tfod.model.anchors import input_size
from tfod.model.pipeline import architecture
from tfod.quiet import hide_native_logs
from tfod.upstream.internals import crop_by_matrix_products, tflite_inference

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

FLOAT32, FLOAT16, DYNAMIC, INT8 = VARIANTS = ("float32", "float16", "dynamic", "int8")
# Non-maximum suppression, by upstream's names.
# Regular: within each class. On T > 1 threads, LiteRT's code for it never reports class T (counted
# from 0; tensorflow/tensorflow issue 56058).
# Fast: across classes. Each anchor counts with its best class only.
REGULAR, FAST = SUPPRESSIONS = ("regular", "fast")
# Lower scores are dropped before sorting, which took half of the time per image with `regular`. AP
# on the val split of the road signs is unchanged to four digits.
MIN_SCORE = 0.02
IDENTITY = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def convert_to_tflite(
    model: DetectionModel,
    pipeline: TrainEvalPipelineConfig,
    variants: Sequence[str],
    calibration_images: Callable[[], Iterator[np.ndarray]],
    suppression: str,
) -> Iterator[tuple[str, TFLiteInput, bytes]]:
    """Converts an SSD or Faster R-CNN model in inference mode, including its post-processing.

    Upstream's `export_tflite_graph_tf2.py` supports SSD only, keeps 10 detections and suppresses
    across classes. This function keeps as many detections as the pipeline.config, except those of
    SSD with a score below `MIN_SCORE`. The outputs have the names of a SavedModel; class ids start
    at 0.

    Args:
      variants: from `VARIANTS`. `float32`; `float16`: weights of 2 bytes; `dynamic`: weights of 1
        byte, computed in 8 bits or float32, as the CPU supports; `int8`: weights and activations
        of 1 byte, with uint8 pixels as input.
      calibration_images: called for `int8`; yields a few hundred images like those at inference,
        uint8 `[H, W, 3]` RGB. They give the range of every activation.
      suppression: from `SUPPRESSIONS`, for SSD. Faster R-CNN suppresses as in its config.

    Yields:
      The variant, how to prepare its input, and the content of the file without metadata.
    """
    import tensorflow as tf

    normalized = describe_input(model, pipeline)
    scale, offset = IDENTITY
    pixels = replace(normalized, scale=scale, offset=offset)
    # TFLite metadata has one scale and offset for all channels. Other networks normalize pixels
    # themselves. So does int8, because its zero point must be an integer, and the zero of
    # MobileNet's input is between pixels 127 and 128.
    is_uniform = len(set(normalized.scale)) == len(set(normalized.offset)) == 1
    outside = [variant for variant in variants if is_uniform and variant != INT8]
    inside = [variant for variant in variants if variant not in outside]
    for input_spec, normalization, selected in (
        (normalized, None, outside),
        (pixels, normalized, inside),
    ):
        if not selected:
            continue
        with _saved_for_conversion(
            model, pipeline, input_spec, normalization, suppression
        ) as folder:
            for variant in selected:
                with hide_native_logs():
                    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                    inputs = partial(_calibration_inputs, input_spec, calibration_images)
                    _set_variant(converter, variant, inputs)
                    content = converter.convert()
                yield variant, input_spec, content


def needs_one_thread(pipeline: TrainEvalPipelineConfig, suppression: str) -> bool:
    """Whether LiteRT, on some number of threads, never reports one of the classes."""
    # See SUPPRESSIONS. With two classes there is no class 2, so two threads lose nothing.
    return (
        pipeline.model.HasField("ssd")
        and suppression == REGULAR
        and pipeline.model.ssd.num_classes > 2
    )


def is_supported(pipeline: TrainEvalPipelineConfig) -> bool:
    """Whether a model can be converted: SSD and Faster R-CNN can, CenterNet cannot."""
    return pipeline.model.HasField("ssd") or _is_two_stage(pipeline)


def has_fixed_size(pipeline: TrainEvalPipelineConfig) -> bool:
    """Whether the input of a model has a fixed size, which TFLite requires."""
    resizer = architecture(pipeline).image_resizer
    return resizer.HasField("fixed_shape_resizer") or (
        _is_two_stage(pipeline) and resizer.keep_aspect_ratio_resizer.pad_to_max_dimension
    )


def describe_input(model: DetectionModel, pipeline: TrainEvalPipelineConfig) -> TFLiteInput:
    """Determines the resize and normalization of a model, from a black and a white image.

    Every feature extractor of the OD API maps each channel linearly (MobileNet to [-1, 1], ResNet
    by subtracting the ImageNet mean), so two points are enough.
    """
    import tensorflow as tf

    resizer, shortest = architecture(pipeline).image_resizer, None
    if not resizer.HasField("fixed_shape_resizer"):
        shortest = resizer.keep_aspect_ratio_resizer.min_dimension
    height, width = input_size(pipeline)
    black, white = (
        model.preprocess(tf.fill([1, height, width, 3], value))[0].numpy()[0, 0, 0]
        for value in (0.0, 255.0)
    )
    scale, offset = (white - black) / 255, black
    return TFLiteInput(height, width, tuple(scale.tolist()), tuple(offset.tolist()), shortest)


@contextmanager
def _saved_for_conversion(
    model: DetectionModel,
    pipeline: TrainEvalPipelineConfig,
    input_spec: TFLiteInput,
    normalization: TFLiteInput | None,
    suppression: str,
) -> Iterator[str]:
    """Saves a temporary SavedModel for the converter, traced without AutoGraph.

    Args:
      normalization: the network normalizes pixels with its scale and offset; None if the caller
        does.
    """
    import tensorflow as tf

    detect = (
        _two_stage_function(model, input_spec)
        if _is_two_stage(pipeline)
        else _ssd_function(model, pipeline, suppression)
    )

    @tf.function(autograph=False)
    def normalize_and_detect(image):
        if normalization is not None:
            image = image * tf.constant(normalization.scale) + tf.constant(normalization.offset)
        return detect(image)

    spec = tf.TensorSpec([1, input_spec.height, input_spec.width, 3], tf.float32, name="image")
    module = tf.Module()
    with tempfile.TemporaryDirectory() as folder:
        # Tracing logs too: upstream runs a TensorFlow 1 session to make its anchors constants.
        with hide_native_logs():
            signature = normalize_and_detect.get_concrete_function(spec)
            # Only the variables: Keras layers would be traced again to be saved.
            module.variables_used = list(signature.graph.variables)
            tf.saved_model.save(module, folder, signatures=signature)
        yield folder


def _is_two_stage(pipeline: TrainEvalPipelineConfig) -> bool:
    return pipeline.model.HasField("faster_rcnn")


def _ssd_function(
    model: DetectionModel, pipeline: TrainEvalPipelineConfig, suppression: str
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    with_min_score = type(pipeline)()
    with_min_score.CopyFrom(pipeline)
    nms = with_min_score.model.ssd.post_processing.batch_non_max_suppression
    nms.score_threshold = max(nms.score_threshold, MIN_SCORE)
    return tflite_inference(with_min_score, model, nms.max_total_detections, suppression == REGULAR)


def _two_stage_function(
    model: DetectionModel, input_spec: TFLiteInput
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Builds Faster R-CNN from TFLite's built-in operations.

    TFLite has no `CropAndResize`; matrix products replace it, as with `use_matmul_crop_and_resize`
    in the config. Boxes are fractions of the tensor, including its padding.
    """
    import tensorflow as tf

    crop_by_matrix_products(model)
    shapes = tf.constant([[input_spec.height, input_spec.width, 3]])

    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model.postprocess(model.predict(image, shapes), shapes)
        names = ("num_detections", "detection_scores", "detection_classes", "detection_boxes")
        return {name: outputs[name] for name in names}

    return detect


def _calibration_inputs(
    input_spec: TFLiteInput, images: Callable[[], Iterator[np.ndarray]]
) -> Iterator[list[np.ndarray]]:
    return ([input_spec.prepare(image)] for image in images())


def _set_variant(
    converter: tf.lite.TFLiteConverter,
    variant: str,
    calibration_inputs: Callable[[], Iterator[list[np.ndarray]]],
) -> None:
    import tensorflow as tf

    if variant == FLOAT32:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if variant == INT8:
        converter.representative_dataset = calibration_inputs
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,  # non-maximum suppression is in float32
        ]
        converter.inference_input_type = tf.uint8
