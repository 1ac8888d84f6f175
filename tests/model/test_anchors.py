"""Anchors are those of the model, and fits are what the eye expects."""

from __future__ import annotations

import numpy as np
import pytest

from tfod.model import anchors
from tfod.model.pipeline import architecture, read_pipeline
from tfod.model.templates import find_template


def template(name: str):
    return read_pipeline(find_template(name))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "ssd_mobilenet_v2_320x320",
        "ssd_mobilenet_v2_fpnlite_320x320",
        "faster_rcnn_resnet50_v1_640x640",
    ],
)
def test_anchors_are_those_of_the_model(name):
    import tensorflow as tf
    from object_detection.builders import model_builder

    pipeline = template(name)
    # In training Faster R-CNN drops the anchors that leave the picture, so not for training.
    model = model_builder.build(pipeline.model, is_training=False)
    images, shapes = model.preprocess(tf.zeros([1, 300, 400, 3]))
    predictions = model.predict(images, shapes)
    ours = anchors.generate(pipeline)
    if name.startswith("ssd"):
        size = np.float32([*anchors.input_size(pipeline)] * 2)
        np.testing.assert_allclose(ours, model.anchors.get() * size, atol=1e-3)
    else:
        height, width = anchors.input_size(pipeline)
        clipped = np.clip(ours, 0, np.float32([height, width] * 2))
        np.testing.assert_allclose(clipped, predictions["anchors"], atol=1e-3)


def test_boxes_are_scaled_as_the_resizer_does():
    boxes, sizes = np.array([[0, 0, 0.5, 0.5]] * 2), np.array([[200, 400], [400, 200]])
    fixed = anchors.to_input(template("ssd_mobilenet_v2_fpnlite_320x320"), boxes, sizes)
    assert fixed.tolist() == [[0, 0, 160, 160]] * 2
    kept = anchors.to_input(template("faster_rcnn_resnet50_v1_640x640"), boxes, sizes)
    assert kept.tolist() == [[0, 0, 160, 320], [0, 0, 320, 160]]


def test_fit_is_the_best_overlap_of_each_box():
    grid = np.float32([[0, 0, 10, 10], [0, 10, 10, 20]])
    boxes = np.float32([[0, 0, 10, 10], [0, 5, 10, 15], [0, 10, 10, 16], [90, 90, 95, 95]])
    found = anchors.fit(grid, boxes)
    assert found.recall == 0.5
    assert found.mean_iou == pytest.approx((1 + 1 / 3 + 0.6 + 0) / 4)


@pytest.mark.parametrize(
    "name",
    [
        "ssd_mobilenet_v2_320x320",
        "ssd_mobilenet_v2_fpnlite_320x320",
        "faster_rcnn_resnet50_v1_640x640",
    ],
)
def test_suggested_anchors_fit_small_tall_boxes_better(name):
    pipeline = template(name)
    rng = np.random.default_rng(0)
    corners = rng.uniform(20, 250, (100, 2)).astype(np.float32)
    tall = np.float32([40, 12]) * rng.uniform(0.8, 1.25, (100, 1)).astype(np.float32)
    boxes = np.concatenate([corners, corners + tall], axis=1)
    before = anchors.fit(anchors.generate(pipeline), boxes)
    changed, after = anchors.suggest(pipeline, boxes)
    assert after.mean_iou > before.mean_iou + 0.05
    # The head keeps its shape, so that a checkpoint of the template still fits.
    assert len(anchors.generate(changed)) == len(anchors.generate(pipeline))
    assert architecture(pipeline) == architecture(template(name))  # the one given is not changed
    assert "0.3" in anchors.describe(changed)["aspect_ratios"]


def test_few_boxes_are_the_same_each_time():
    boxes = np.arange(4000, dtype=np.float32).reshape(-1, 4)
    assert len(anchors.few(boxes)) == anchors.ENOUGH_BOXES
    np.testing.assert_array_equal(anchors.few(boxes), anchors.few(boxes))
    assert anchors.few(boxes[:7]) is not None and len(anchors.few(boxes[:7])) == 7
