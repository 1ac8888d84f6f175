"""Tests `model.anchors`: generated anchors, their fit, and suggested anchors."""

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
def test_generated_anchors_equal_the_anchors_of_the_model(name):
    import tensorflow as tf
    from object_detection.builders import model_builder

    pipeline = template(name)
    if not name.startswith("ssd"):
        pipeline.model.faster_rcnn.number_of_stages = 1  # the second one takes 2 GB
    # In training mode, Faster R-CNN drops anchors that extend beyond the image.
    model = model_builder.build(pipeline.model, is_training=False)
    images, shapes = model.preprocess(tf.zeros([1, 300, 400, 3]))
    predictions = model.predict(images, shapes)
    generated = anchors.generate_anchors(pipeline)
    if name.startswith("ssd"):
        size = np.float32([*anchors.input_size(pipeline)] * 2)
        np.testing.assert_allclose(generated, model.anchors.get() * size, atol=1e-3)
    else:
        height, width = anchors.input_size(pipeline)
        clipped = np.clip(generated, 0, np.float32([height, width] * 2))
        np.testing.assert_allclose(clipped, predictions["anchors"], atol=1e-3)


def test_boxes_are_scaled_like_the_image():
    boxes, sizes = np.array([[0, 0, 0.5, 0.5]] * 2), np.array([[200, 400], [400, 200]])
    pipeline = template("ssd_mobilenet_v2_fpnlite_320x320")
    fixed = anchors.normalized_to_input_pixels(pipeline, boxes, sizes)
    assert fixed.tolist() == [[0, 0, 160, 160]] * 2
    pipeline = template("faster_rcnn_resnet50_v1_640x640")
    kept = anchors.normalized_to_input_pixels(pipeline, boxes, sizes)
    assert kept.tolist() == [[0, 0, 160, 320], [0, 0, 320, 160]]


def test_fit_uses_the_best_anchor_of_each_box():
    grid = np.float32([[0, 0, 10, 10], [0, 10, 10, 20]])
    boxes = np.float32([[0, 0, 10, 10], [0, 5, 10, 15], [0, 10, 10, 16], [90, 90, 95, 95]])
    fit = anchors.measure_fit(grid, boxes)
    assert fit.recall == 0.5
    assert fit.mean_iou == pytest.approx((1 + 1 / 3 + 0.6 + 0) / 4)


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
    before = anchors.measure_fit(anchors.generate_anchors(pipeline), boxes)
    suggested, after = anchors.suggest_anchors(pipeline, boxes)
    assert after.mean_iou > before.mean_iou + 0.05
    # The box predictor keeps its shape, so a checkpoint of the template still fits.
    count = len(anchors.generate_anchors(pipeline))
    assert len(anchors.generate_anchors(suggested)) == count
    assert architecture(pipeline) == architecture(template(name))  # the input is not changed
    assert "0.3" in anchors.describe_anchors(suggested)["aspect_ratios"]


def test_the_sample_of_boxes_is_always_the_same():
    boxes = np.arange(4000, dtype=np.float32).reshape(-1, 4)
    assert len(anchors.sample_boxes(boxes)) == anchors.MAX_BOXES
    np.testing.assert_array_equal(anchors.sample_boxes(boxes), anchors.sample_boxes(boxes))
    assert anchors.sample_boxes(boxes[:7]) is not None and len(anchors.sample_boxes(boxes[:7])) == 7
