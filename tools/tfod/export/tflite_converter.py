"""Converts an OD API model to TFLite: float32, float16, dynamic range and int8."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tfod.detection.raw_outputs import ENCODINGS, SCORES, PostProcessing
from tfod.detection.tflite_input import TFLiteInput
from tfod.model.anchors import input_size
from tfod.model.pipeline import architecture
from tfod.quiet import hide_native_logs
from tfod.upstream.internals import crop_by_matrix_products, tflite_inference

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig
    from object_detection.protos.post_processing_pb2 import BatchNonMaxSuppression

FLOAT32, FLOAT16, DYNAMIC, INT8 = VARIANTS = ("float32", "float16", "dynamic", "int8")
# Non-maximum suppression, by upstream's names.
# Regular: within each class. On T > 1 threads, LiteRT's code for it never reports class T (counted
# from 0; tensorflow/tensorflow issue 56058).
# Fast: across classes. Each anchor counts with its best class only.
REGULAR, FAST = SUPPRESSIONS = ("regular", "fast")
# What a `.tflite` ends with: detections, or the network, see `detection.raw_outputs`.
BOXES, RAW = OUTPUTS = ("boxes", "raw")
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
    outputs: str = BOXES,
) -> Iterator[tuple[str, TFLiteInput, bytes]]:
    """Converts an SSD or Faster R-CNN model in inference mode.

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
      outputs: from `OUTPUTS`. `raw`, for SSD only, leaves out the post-processing.

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
        if _is_two_stage(pipeline):
            detect = _two_stage_function(model, input_spec)
        elif outputs == RAW:
            detect = _raw_function(model, pipeline)
        else:
            detect = _ssd_function(model, pipeline, suppression)
        with _saved_for_conversion(detect, input_spec, normalization) as folder:
            for variant in selected:
                with hide_native_logs():
                    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                    inputs = partial(_calibration_inputs, input_spec, calibration_images)
                    _set_variant(converter, variant, inputs)
                    content = converter.convert()
                yield variant, input_spec, content


def describe_post_processing(
    model: DetectionModel, pipeline: TrainEvalPipelineConfig, suppression: str
) -> PostProcessing:
    """Describes what follows the raw outputs of an SSD model.

    Args:
      suppression: from `SUPPRESSIONS`.
    """
    import tensorflow as tf

    # The model has anchors when it has seen an image. Those of a trace would be symbolic.
    model.predict(tf.zeros([1, *input_size(pipeline), 3]), None)
    anchors = tf.stack(model.anchors.get_center_coordinates_and_sizes(), axis=1).numpy()
    coder = pipeline.model.ssd.box_coder.faster_rcnn_box_coder
    nms = _suppression_settings(pipeline)
    return PostProcessing(
        anchors=anchors,
        scales=(coder.y_scale, coder.x_scale, coder.height_scale, coder.width_scale),
        min_score=nms.score_threshold,
        iou_threshold=nms.iou_threshold,
        max_detections=nms.max_total_detections,
        within_classes=suppression == REGULAR,
    )


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
    detect: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    input_spec: TFLiteInput,
    normalization: TFLiteInput | None,
) -> Iterator[str]:
    """Saves a temporary SavedModel for the converter, traced without AutoGraph.

    Args:
      detect: from the input tensor to the outputs.
      normalization: the network normalizes pixels with its scale and offset; None if the caller
        does.
    """
    import tensorflow as tf

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
    nms = _suppression_settings(pipeline)
    with_min_score.model.ssd.post_processing.batch_non_max_suppression.CopyFrom(nms)
    return tflite_inference(with_min_score, model, nms.max_total_detections, suppression == REGULAR)


def _suppression_settings(pipeline: TrainEvalPipelineConfig) -> BatchNonMaxSuppression:
    """Returns the suppression of an SSD config, with a minimum score of at least `MIN_SCORE`."""
    original = pipeline.model.ssd.post_processing.batch_non_max_suppression
    nms = type(original)()
    nms.CopyFrom(original)
    nms.score_threshold = max(nms.score_threshold, MIN_SCORE)
    return nms


def _raw_function(
    model: DetectionModel, pipeline: TrainEvalPipelineConfig
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    from object_detection.builders import post_processing_builder

    _, convert_scores = post_processing_builder.build(pipeline.model.ssd.post_processing)
    classes = pipeline.model.ssd.num_classes

    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        predicted = model.predict(image, None)
        scores = convert_scores(predicted["class_predictions_with_background"])
        if scores.shape[2] > classes:  # the background class, at index 0
            scores = scores[:, :, -classes:]
        return {ENCODINGS: predicted["box_encodings"], SCORES: scores}

    return detect


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
