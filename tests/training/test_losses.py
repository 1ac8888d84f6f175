"""Tests `training.losses`: GIoU, and losses that decrease as boxes and scores get better."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.long

ANCHORS = np.array([[0.1, 0.1, 0.3, 0.3], [0.4, 0.4, 0.8, 0.6], [0.0, 0.5, 0.5, 1.0]], np.float32)
BOXES = np.array([[0.12, 0.1, 0.34, 0.28], [0.42, 0.38, 0.85, 0.66]], np.float32)


@pytest.fixture(scope="module")
def coder():
    from object_detection.box_coders.faster_rcnn_box_coder import FasterRcnnBoxCoder

    return FasterRcnnBoxCoder([10.0, 10.0, 5.0, 5.0])


def encode(coder, boxes):
    """Returns the codes `[1, 3, 4]` of `boxes` on the first two anchors, and zeros on the third."""
    import tensorflow as tf
    from object_detection.core.box_list import BoxList

    boxes, anchors = (BoxList(tf.constant(corners)) for corners in (boxes, ANCHORS[:2]))
    codes = coder.encode(boxes, anchors).numpy()
    return np.concatenate([codes, np.zeros([1, 4], np.float32)])[None]


@pytest.fixture(scope="module")
def losses_of(coder):
    """Returns a function from predicted boxes and logits to the losses, for `BOXES` of class 1."""
    from tfod.training.losses import tight_losses

    class_targets = np.zeros([1, 3, 3], np.float32)
    class_targets[0, :2, 1] = 1
    targets = {
        "cls_targets": class_targets.astype(np.uint8),
        "cls_weights": np.ones([1, 3, 1], np.float32),
        "reg_targets": encode(coder, BOXES),
        "reg_weights": np.array([[1, 1, 0]], np.float32),
    }

    def losses(boxes, logits):
        predictions = {
            "box_encodings": encode(coder, np.asarray(boxes, np.float32)),
            "class_predictions_with_background": np.asarray(logits, np.float32)[None],
        }
        result = tight_losses(predictions, targets, ANCHORS, coder)
        return {name.removeprefix("Loss/"): float(loss) for name, loss in result.items()}

    return losses


def test_giou_of_known_boxes():
    from tfod.training.losses import iou_and_giou

    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    targets = np.array([[0, 0, 2, 2], [0, 1, 2, 3], [0, 3, 1, 4], [1, 1, 1, 1]], np.float32)
    iou, giou = iou_and_giou(boxes, targets)
    np.testing.assert_allclose(iou, [1, 1 / 3, 0, 0])
    # Boxes without overlap have a gradient too: the farther apart, the lower. Points give 0.
    np.testing.assert_allclose(giou, [1, 1 / 3, -0.5, 0])


def test_perfect_boxes_and_scores_have_no_loss(losses_of):
    losses = losses_of(BOXES, [[-20, 20, -20], [-20, 20, -20], [-20, -20, -20]])
    assert losses["localization_loss"] == pytest.approx(0, abs=1e-5)
    assert losses["classification_loss"] == pytest.approx(0, abs=1e-5)


def test_worse_boxes_have_a_higher_localization_loss(losses_of):
    logits = np.zeros([3, 3])
    shifts = (0, 0.02, 0.1, 0.5)
    losses = [losses_of(BOXES + shift, logits)["localization_loss"] for shift in shifts]
    assert losses == sorted(losses) and len(set(losses)) == len(losses)
    assert losses[-1] > 2  # 1 - GIoU is above 1 for boxes without overlap, and is weighted by 2


def test_the_best_score_of_a_loose_box_is_its_iou(losses_of):
    from tfod.training.losses import iou_and_giou

    loose = BOXES + 0.03
    iou = iou_and_giou(loose, BOXES)[0].numpy()

    def loss(scores):
        logits = np.full([3, 3], -20.0)
        logits[:2, 1] = np.log(scores / (1 - scores))
        return losses_of(loose, logits)["classification_loss"]

    best = loss(iou)
    assert best < loss(np.minimum(iou + 0.2, 0.99)) and best < loss(iou - 0.2)


def test_a_huge_encoding_is_finite(losses_of, coder):
    import tensorflow as tf

    from tfod.training.losses import _decode

    codes = tf.constant([[0.0, 0.0, 1e3, 1e3]])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        boxes = _decode(coder, codes, tf.constant(ANCHORS[:1]))
    assert np.isfinite(boxes).all()
    assert np.isfinite(tape.gradient(boxes, codes)).all()


CORNERS = np.array([[0.5, 0.5, 0.9, 0.9], [0.1, 0.2, 0.3, 0.3], [0, 0, 0, 0]], np.float32)


def simple_cnn(coder, boxes, logits, objects):
    """Returns the losses and the gradient of the codes for one predicted box per image.

    Args:
      objects: number of objects in each image, the first ones of `CORNERS`; the others are padding.
    """
    import tensorflow as tf
    from object_detection.core.box_list import BoxList
    from object_detection.core.standard_fields import InputDataFields as fields

    from tfod.training.losses import simple_cnn_losses

    whole = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    boxes = tf.constant(boxes, tf.float32)
    codes = coder.encode(BoxList(boxes), BoxList(tf.tile(whole, [len(boxes), 1])))
    labels = {
        fields.groundtruth_boxes: tf.tile(CORNERS[None], [len(boxes), 1, 1]),
        fields.groundtruth_classes: tf.tile(tf.eye(3)[None], [len(boxes), 1, 1]),
        fields.groundtruth_weights: tf.sequence_mask(objects, 3, tf.float32),
    }
    with tf.GradientTape() as tape:
        tape.watch(codes)
        predictions = {
            "box_encodings": codes[:, None],
            "class_predictions_with_background": tf.constant(logits, tf.float32)[:, None],
        }
        losses = simple_cnn_losses(predictions, labels, whole, coder, 10.0)
        total = sum(losses.values())
    losses = {name.removeprefix("Loss/"): float(loss) for name, loss in losses.items()}
    return losses, tape.gradient(total, codes).numpy()


def test_the_simple_cnn_learns_the_closest_object(coder):
    near_second = CORNERS[1:2] + np.float32([[0.1, 0, 0, 0]])
    losses, _ = simple_cnn(coder, near_second, [[0, 2, 0]], [2])
    assert losses["localization_loss"] == pytest.approx(10 * 0.1**2, rel=1e-3)
    assert losses["classification_loss"] == pytest.approx(np.log(1 + 2 * np.exp(-2)), rel=1e-3)
    with_class_of_first, _ = simple_cnn(coder, near_second, [[2, 0, 0]], [2])
    assert with_class_of_first["classification_loss"] > losses["classification_loss"]


def test_the_simple_cnn_ignores_padding_and_images_without_objects(coder):
    corner = [[0.0, 0.0, 0.1, 0.1]]  # closest to the padding
    one, _ = simple_cnn(coder, corner, [[0, 0, 0]], [1])
    assert one["localization_loss"] == pytest.approx(10 * (2 * 0.5**2 + 2 * 0.8**2), rel=1e-3)
    both, gradient = simple_cnn(coder, corner * 2, [[0, 0, 0]] * 2, [1, 0])
    assert both == pytest.approx({name: loss / 2 for name, loss in one.items()})
    assert gradient[0].any() and not gradient[1].any()
