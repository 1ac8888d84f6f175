"""The simple CNN: one class and one box per image, the baseline that detectors are compared with.

It is an SSD model with one feature map of one pixel, the mean of the last one of MobileNetV2, and
with one anchor: the whole image. So everything that works for SSD models works for it. The losses
are `tfod.training.losses.simple_cnn_losses`.
"""

from __future__ import annotations

import tensorflow as tf
from object_detection.models.ssd_mobilenet_v2_keras_feature_extractor import (
    SSDMobileNetV2KerasFeatureExtractor,
)


class SimpleCnnFeatureExtractor(SSDMobileNetV2KerasFeatureExtractor):
    """MobileNetV2 with global average pooling.

    Its weights are those of the backbone, under upstream's names, so that it starts from any
    checkpoint with a MobileNetV2.
    """

    def _extract_features(self, preprocessed_inputs: tf.Tensor) -> list[tf.Tensor]:
        last = self.classification_backbone(preprocessed_inputs)[-1]
        return [tf.reduce_mean(last, axis=[1, 2], keepdims=True)]
