"""Tests that a detector keeps what an earlier one learned about the classes that both have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfod.dataset.label_map import write_label_map
from tfod.model.build import build_model
from tfod.model.checkpoint import build_variables, restore_fine_tune_checkpoint
from tfod.model.earlier_detector import find_earlier_detector, restore_shared_classes
from tfod.model.pipeline import architecture, read_pipeline, set_input_size, write_pipeline
from tfod.model.templates import find_template
from tfod.upstream.internals import inference_mode

OLD = {1: "dog", 2: "cat", 3: "stop"}
GROWN = {1: "bird", 2: "cat", 3: "dog", 4: "stop"}
REORDERED = {1: "stop", 2: "cat", 3: "dog"}
SMALLER = {1: "stop", 2: "dog"}
OTHERS = {1: "stop", 2: "bird", 3: "fish"}


def size(template):
    return 160 if "resnet50_v1_fpn" in template else 64  # the smallest with seven levels is 129


def small(template, classes):
    pipeline = read_pipeline(find_template(template))
    set_input_size(pipeline, size(template))
    extractor = architecture(pipeline).feature_extractor
    if "mobilenet" in extractor.type:
        extractor.depth_multiplier = 0.35
    if "faster_rcnn" in template:
        second_stage = pipeline.model.faster_rcnn.second_stage_box_predictor
        second_stage.mask_rcnn_box_predictor.share_box_across_classes = False
    architecture(pipeline).num_classes = len(classes)
    return pipeline


def built(pipeline, seed):
    tf.keras.utils.set_random_seed(seed)
    model = build_model(pipeline, is_training=True)
    build_variables(model)
    return model


def predict(model, edge):
    """Returns the raw predictions for an image of `edge` x `edge` pixels."""
    image = tf.random.stateless_uniform([1, edge, edge, 3], (1, 2), maxval=255)
    with inference_mode(model):
        outputs = model.predict(*model.preprocess(image))
    return {name: np.array(value) for name, value in outputs.items() if tf.is_tensor(value)}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Returns a function that returns an earlier detector of a template, and its predictions."""
    cache = {}

    def earlier(template):
        if template not in cache:
            folder = tmp_path_factory.mktemp("earlier")
            pipeline = small(template, OLD)
            write_pipeline(pipeline, folder / "pipeline.config")
            write_label_map(folder / "label_map.pbtxt", OLD)
            model = built(pipeline, seed=1)
            prefix = Path(tf.train.Checkpoint(model=model).save(str(folder / "best" / "ckpt")))
            found = find_earlier_detector(prefix)
            assert found.folder == folder and found.classes == OLD
            cache[template] = found, prefix, predict(model, size(template))
        return cache[template]

    return earlier


@pytest.mark.parametrize(
    ("template", "classes"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320", GROWN),
        ("ssd_mobilenet_v2_fpnlite_320x320", REORDERED),
        ("simple_cnn", SMALLER),
        ("simple_cnn", OTHERS),
        *(
            pytest.param(name, GROWN, marks=[pytest.mark.long, pytest.mark.slow])
            for name in (
                "ssd_mobilenet_v2_320x320",
                "faster_rcnn_resnet50_v1_640x640",
                "ssd_resnet50_v1_fpn_640x640",
            )
        ),
    ],
)
def test_shared_classes_have_the_same_scores_and_boxes(earlier, template, classes):
    found, prefix, before = earlier(template)
    pipeline = small(template, classes)
    model = built(pipeline, seed=2)
    restore_fine_tune_checkpoint(model, prefix, "detection")
    kept = restore_shared_classes(model, pipeline, classes, found, prefix)
    assert kept == tuple(name for name in classes.values() if name in OLD.values())
    after = predict(model, size(template))
    scores, boxes = "class_predictions_with_background", "refined_box_encodings"
    background = before[scores].shape[-1] - len(OLD)
    assert background == (template != "simple_cnn")
    ids = {name: class_id for class_id, name in OLD.items()}
    for class_id, name in classes.items():
        new = after[scores][..., class_id - 1 + background]
        same = name in ids and np.allclose(new, before[scores][..., ids[name] - 1 + background])
        assert same == (name in ids)
        if boxes in after:
            is_same = name in ids and np.allclose(
                after[boxes][..., class_id - 1, :], before[boxes][..., ids[name] - 1, :], atol=1e-5
            )
            assert is_same == (name in ids)
    if "box_encodings" in after:
        np.testing.assert_allclose(after["box_encodings"], before["box_encodings"], atol=1e-5)


def test_heads_for_another_number_of_anchors_are_not_kept(earlier):
    template = "ssd_mobilenet_v2_fpnlite_320x320"
    found, prefix, _ = earlier(template)
    pipeline = small(template, GROWN)
    pipeline.model.ssd.anchor_generator.multiscale_anchor_generator.scales_per_octave = 3
    model = built(pipeline, seed=2)
    before = predict(model, size(template))["class_predictions_with_background"]
    assert restore_shared_classes(model, pipeline, GROWN, found, prefix) == ()
    after = predict(model, size(template))["class_predictions_with_background"]
    assert before.shape == after.shape


@pytest.mark.parametrize("missing", ["pipeline.config", "label_map.pbtxt"])
def test_a_folder_without_classes_is_no_earlier_detector(missing, tmp_path):
    """Such as an archive of the model zoo."""
    write_pipeline(small("simple_cnn", OLD), tmp_path / "pipeline.config")
    write_label_map(tmp_path / "label_map.pbtxt", OLD)
    prefix = tmp_path / "checkpoint" / "ckpt-0"
    prefix.parent.mkdir()
    index = prefix.with_suffix(".index")
    index.touch()
    paths = tmp_path, prefix, index
    assert all(find_earlier_detector(path).folder == tmp_path for path in paths)
    assert find_earlier_detector(tmp_path).classes == OLD
    (tmp_path / missing).unlink()
    assert not any(find_earlier_detector(path) for path in paths)


@pytest.mark.parametrize("name", ["zoo", "scratch", "ssd_mobilenet_v2_320x320_coco17_tpu-8"])
def test_a_name_is_not_looked_up_in_the_current_folder(name, tmp_path, monkeypatch):
    write_pipeline(small("simple_cnn", OLD), tmp_path / "pipeline.config")
    write_label_map(tmp_path / "label_map.pbtxt", OLD)
    monkeypatch.chdir(tmp_path)
    assert find_earlier_detector(Path(name)) is None
