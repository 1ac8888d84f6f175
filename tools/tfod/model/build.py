"""Builds the OD API's models, and those that tfod adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfod.upstream.internals import random_weights

if TYPE_CHECKING:
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

# The type of a feature extractor that the OD API does not have.
SIMPLE_CNN = "simple_cnn_mobilenet_v2"


def is_simple_cnn(pipeline: TrainEvalPipelineConfig) -> bool:
    """Whether the model is the simple CNN, which has no anchors to match."""
    return pipeline.model.ssd.feature_extractor.type == SIMPLE_CNN


def build_model(pipeline: TrainEvalPipelineConfig, is_training: bool) -> DetectionModel:
    """Builds the model of a pipeline, without variables. Downloads nothing.

    Source: `object_detection.builders.model_builder.build`, without summaries.
    """
    from object_detection.builders import model_builder

    if is_simple_cnn(pipeline):
        from tfod.model.simple_cnn import SimpleCnnFeatureExtractor

        extractors = model_builder.SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP
        extractors[SIMPLE_CNN] = SimpleCnnFeatureExtractor
    with random_weights():
        return model_builder.build(pipeline.model, is_training=is_training, add_summaries=False)
