"""Tests the simple CNN: one class and one box per image, with the commands of every detector."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfod.detection.detector import Detector
from tfod.export.exporter import export
from tfod.model.build import build_model
from tfod.model.checkpoint import build_variables, restore_fine_tune_checkpoint
from tfod.model.pipeline import Options, read_pipeline, set_input_size, write_pipeline
from tfod.model.templates import find_template
from tfod.training.trainer import RunSettings, train

WIDTH = 0.35  # of MobileNetV2


def small(template):
    """Returns the configuration of a template with a small input and few channels."""
    pipeline = read_pipeline(find_template(template))
    set_input_size(pipeline, 96)
    pipeline.model.ssd.feature_extractor.depth_multiplier = WIDTH
    return pipeline


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("simple_cnn") / "pipeline.config"
    write_pipeline(small("simple_cnn"), path)
    return path


@pytest.fixture(scope="module")
def run(data, template, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "simple_cnn"
    train(data, str(template), output, Options(steps=3, batch_size=4), RunSettings())
    return output


@pytest.mark.long
def test_a_run_detects_one_object_in_each_image(run, images, data):
    detector = Detector.load(run)
    for image in images:
        detections = detector.predict(image)
        assert detections.boxes.shape == (1, 4)
        assert set(detections.names) <= set(data.classes.values())
        assert 1 / len(data.classes) <= detections.scores[0] <= 1  # the best of a softmax


@pytest.mark.long
@pytest.mark.slow
def test_exports_detect_the_same_object(run, images, tmp_path):
    exported = export(run, tmp_path / "exported", tflite=["float32", "int8"])
    expected = Detector.load(run).predict(images[0])
    for path, tolerance in ((exported, 1e-4), (exported / "model.tflite", 1e-3)):
        detections = Detector.load(path).predict(images[0])
        np.testing.assert_allclose(detections.boxes, expected.boxes, rtol=tolerance, atol=0.1)
        assert detections.scores == pytest.approx(expected.scores, abs=tolerance)
        assert detections.names == expected.names
    assert len(Detector.load(exported / "model_int8.tflite").predict(images[0])) == 1


def test_the_backbone_starts_from_a_detector(tmp_path):
    """As with `--init zoo`, whose checkpoint is one of `ssd_mobilenet_v2_320x320`."""
    detector = build_model(small("ssd_mobilenet_v2_320x320"), is_training=False)
    build_variables(detector)
    prefix = tf.train.Checkpoint(model=detector).save(str(tmp_path / "ckpt"))
    model = build_model(small("simple_cnn"), is_training=True)
    build_variables(model)
    restore_fine_tune_checkpoint(model, prefix, "detection")
    backbones = [
        {
            weight.name: weight.numpy()
            for weight in part.feature_extractor.classification_backbone.weights
        }
        for part in (detector, model)
    ]
    assert len(backbones[0]) > 200 and backbones[0].keys() == backbones[1].keys()
    for name, value in backbones[0].items():
        np.testing.assert_array_equal(value, backbones[1][name])
