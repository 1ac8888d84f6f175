"""Tests decoding and non-maximum suppression outside of the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfod.detection.raw_outputs import PostProcessing

SCALES = (10.0, 10.0, 5.0, 5.0)


def settings(anchors, within_classes=True, **options):
    values = {"min_score": 0.02, "iou_threshold": 0.6, "max_detections": 10} | options
    return PostProcessing(
        np.asarray(anchors, np.float32), SCALES, **values, within_classes=within_classes
    )


def random_outputs(count=500, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    anchors = np.concatenate(
        [rng.uniform(0.2, 0.8, (count, 2)), rng.uniform(0.05, 0.4, (count, 2))], axis=1
    )
    encodings = rng.normal(0, 2, (1, count, 4)).astype(np.float32)
    scores = rng.uniform(0, 1, (1, count, classes)).astype(np.float32) ** 3
    return anchors, encodings, scores


def test_boxes_are_decoded_as_by_the_od_api():
    import tensorflow as tf
    from object_detection.box_coders.faster_rcnn_box_coder import FasterRcnnBoxCoder
    from object_detection.core.box_list import BoxList

    anchors, encodings, _ = random_outputs()
    corners = np.concatenate(
        [anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=1
    )
    coder = FasterRcnnBoxCoder(scale_factors=SCALES)
    expected = coder.decode(encodings[0], BoxList(tf.constant(corners, tf.float32))).get()
    actual = settings(anchors).decode(encodings[0], np.arange(len(anchors)))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("within_classes", [True, False])
def test_suppression_equals_that_of_tensorflow(within_classes):
    import tensorflow as tf

    anchors, encodings, scores = random_outputs()
    process = settings(anchors, within_classes, max_detections=1000)
    outputs = process.detections(encodings, scores)
    count = int(outputs["num_detections"][0])
    boxes = process.decode(encodings[0], np.arange(len(anchors)))
    columns = scores[0].T if within_classes else [scores[0].max(axis=1)]
    expected = []
    for class_id, column in enumerate(columns):
        kept = tf.image.non_max_suppression(boxes, column, 1000, 0.6, 0.02).numpy()
        classes = [class_id] * len(kept) if within_classes else scores[0, kept].argmax(axis=1)
        expected += zip(column[kept].tolist(), classes, boxes[kept].tolist(), strict=True)
    expected.sort(key=lambda row: -row[0])
    assert count == len(expected) and 50 < count < 1000
    np.testing.assert_allclose(
        outputs["detection_scores"][0, :count], [score for score, _, _ in expected]
    )
    np.testing.assert_array_equal(
        outputs["detection_classes"][0, :count], [class_id for _, class_id, _ in expected]
    )
    np.testing.assert_allclose(
        outputs["detection_boxes"][0, :count], [box for _, _, box in expected], atol=1e-6
    )
    few = replace(process, max_detections=7).detections(encodings, scores)
    assert few["num_detections"][0] == 7
    np.testing.assert_array_equal(few["detection_boxes"][0], outputs["detection_boxes"][0, :7])


@pytest.mark.parametrize("within_classes", [True, False])
def test_nothing_above_the_minimum_score_is_no_detection(within_classes):
    anchors, encodings, scores = random_outputs()
    outputs = settings(anchors, within_classes).detections(encodings, scores * 0)
    assert outputs["num_detections"].tolist() == [0]
    assert not any(value.any() for value in outputs.values())


def test_boxes_without_area_suppress_nothing():
    process = settings([[0.5, 0.5, 0, 0]] * 2)
    outputs = process.detections(np.zeros((1, 2, 4), np.float32), np.ones((1, 2, 1), np.float32))
    assert outputs["num_detections"].tolist() == [2]
