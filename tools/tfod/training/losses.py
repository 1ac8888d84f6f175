"""Losses that the OD API does not have.

For SSD models: losses that make boxes tight, and scores that say how tight they are. For the simple
CNN: losses of one box and one class per image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from object_detection.core.box_coder import BoxCoder

LOCALIZATION_WEIGHT = 2.0  # of GIoU to the classification loss, as in FCOS, ATSS and GFL
FOCUS = 2.0  # the exponent of the quality focal loss
MAX_ENCODING = 5 * math.log(1000 / 16)  # of a side; larger ones overflow. As in Detectron.


def iou_and_giou(boxes: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compares boxes pair by pair.

    Source: Rezatofighi et al., "Generalized Intersection over Union", 2019.

    Args:
      boxes: float32 `[N, 4]`: ymin, xmin, ymax, xmax in any unit.
      targets: the same.

    Returns:
      IoU in [0, 1] and GIoU in [-1, 1], both float32 `[N]`.
    """
    area = tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    target_area = tf.reduce_prod(targets[:, 2:] - targets[:, :2], axis=1)
    low = tf.maximum(boxes[:, :2], targets[:, :2])
    high = tf.minimum(boxes[:, 2:], targets[:, 2:])
    overlap = tf.reduce_prod(tf.maximum(high - low, 0), axis=1)
    union = area + target_area - overlap
    low = tf.minimum(boxes[:, :2], targets[:, :2])
    high = tf.maximum(boxes[:, 2:], targets[:, 2:])
    hull = tf.reduce_prod(high - low, axis=1)
    iou = tf.math.divide_no_nan(overlap, union)
    return iou, iou - tf.math.divide_no_nan(hull - union, hull)


def tight_losses(
    predictions: dict[str, tf.Tensor],
    targets: dict[str, tf.Tensor],
    anchors: tf.Tensor,
    box_coder: BoxCoder,
) -> dict[str, tf.Tensor]:
    """Computes GIoU and quality focal loss, both divided by the number of positive anchors.

    The localization loss is 1 - GIoU of decoded boxes (upstream's `weighted_giou` is computed from
    encoded boxes, which have no overlap). The classification loss trains the score of a positive
    anchor to be the IoU of its box, so that non-maximum suppression keeps the tightest of several
    boxes (quality focal loss: Li et al., "Generalized Focal Loss", 2020).

    Args:
      predictions: from `SSDMetaArch.predict`.
      targets: the batched `TARGETS`. The class targets may include an all-zero background.
      anchors: float32 `[A, 4]`: ymin, xmin, ymax, xmax, normalized.
      box_coder: of the model; any coder of four values with the logarithm of sides.

    Returns:
      Two scalars by the names that `SSDMetaArch.loss` gives them.
    """
    logits = predictions["class_predictions_with_background"]
    positives = tf.where(targets["reg_weights"] > 0)
    weights = tf.gather_nd(targets["reg_weights"], positives)
    positive_anchors = tf.gather(anchors, positives[:, 1])
    boxes, target_boxes = (
        _decode(box_coder, tf.gather_nd(codes, positives), positive_anchors)
        for codes in (predictions["box_encodings"], targets["reg_targets"])
    )
    iou, giou = iou_and_giou(boxes, target_boxes)
    quality = tf.scatter_nd(
        positives, tf.stop_gradient(iou), tf.shape(targets["reg_weights"], tf.int64)
    )
    scores = tf.cast(targets["cls_targets"], tf.float32) * quality[:, :, None]
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=scores, logits=logits)
    focus = tf.abs(scores - tf.sigmoid(logits)) ** FOCUS
    normalizer = tf.maximum(tf.reduce_sum(weights), 1.0)
    return {
        "Loss/localization_loss": LOCALIZATION_WEIGHT
        * tf.reduce_sum(weights * (1 - giou))
        / normalizer,
        "Loss/classification_loss": tf.reduce_sum(targets["cls_weights"] * focus * cross_entropy)
        / normalizer,
    }


def simple_cnn_losses(
    predictions: dict[str, tf.Tensor],
    labels: dict[str, tf.Tensor],
    anchors: tf.Tensor,
    box_coder: BoxCoder,
    localization_weight: float,
) -> dict[str, tf.Tensor]:
    """Computes the losses of one box and one class per image, averaged over the images.

    The localization loss is the squared error of the four box sides to the object that is closest
    to the predicted box; the classification loss is the cross-entropy of its class. An image
    without objects has no loss.

    Args:
      predictions: from `SSDMetaArch.predict` of a model with one anchor and without a background.
      labels: of the batch, with the names of `InputDataFields` for the ground truth.
      anchors: float32 `[1, 4]`: ymin, xmin, ymax, xmax, normalized.
      box_coder: of the model; any coder of four values with the logarithm of sides.

    Returns:
      Two scalars by the names that `SSDMetaArch.loss` gives them.
    """
    from object_detection.core.standard_fields import InputDataFields as fields

    codes = predictions["box_encodings"][:, 0]
    boxes = _decode(box_coder, codes, tf.tile(anchors, [tf.shape(codes)[0], 1]))
    # Padding has the weight 0.
    is_object = labels[fields.groundtruth_weights] > 0
    distances = tf.reduce_sum((labels[fields.groundtruth_boxes] - boxes[:, None]) ** 2, axis=2)
    closest = tf.argmin(tf.where(is_object, distances, math.inf), axis=1)
    has_object = tf.cast(tf.reduce_any(is_object, axis=1), tf.float32)
    cross_entropy = tf.nn.softmax_cross_entropy_with_logits(
        labels=tf.gather(labels[fields.groundtruth_classes], closest, batch_dims=1),
        logits=predictions["class_predictions_with_background"][:, 0],
    )
    errors = tf.gather(distances, closest, batch_dims=1)
    return {
        "Loss/localization_loss": localization_weight * tf.reduce_mean(has_object * errors),
        "Loss/classification_loss": tf.reduce_mean(has_object * cross_entropy),
    }


def _decode(box_coder: BoxCoder, codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Returns the boxes `[P, 4]` of codes `[P, 4]`, without an overflow in the first steps."""
    from object_detection.core.box_list import BoxList

    centers, sides = tf.split(codes, 2, axis=1)
    codes = tf.concat([centers, tf.minimum(sides, MAX_ENCODING)], axis=1)
    return box_coder.decode(codes, BoxList(anchors)).get()
