"""Tests which TFLite variants and which non-maximum suppression `tfod export` selects."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.errors import UserError
from tfod.export.exporter import _choose_suppression, _choose_variants
from tfod.export.parity import Reference
from tfod.model.pipeline import read_pipeline
from tfod.model.templates import find_template

SSD = "ssd_mobilenet_v2_fpnlite_320x320"
FASTER_RCNN = "faster_rcnn_resnet50_v1_640x640"


def without_fixed_size():
    pipeline = read_pipeline(find_template(SSD))
    resizer = pipeline.model.ssd.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension = resizer.max_dimension = 320
    return pipeline


@pytest.mark.parametrize(
    ("template", "variants"),
    [
        (SSD, ["float32", "float16", "dynamic", "int8"]),
        (FASTER_RCNN, ["float32", "float16", "dynamic"]),
    ],
)
def test_all_variants_that_the_model_supports_are_written(template, variants, tmp_path):
    pipeline, notes = read_pipeline(find_template(template)), []
    shard = tmp_path / "train.tfrecord"
    shard.touch()
    pipeline.train_input_reader.tf_record_input_reader.input_path[:] = [str(shard)]
    assert _choose_variants(pipeline, None, notes.append) == variants
    assert notes == []


def test_int8_for_faster_rcnn_is_an_error():
    pipeline = read_pipeline(find_template(FASTER_RCNN))
    with pytest.raises(UserError, match="--tflite int8: is for SSD models only"):
        _choose_variants(pipeline, ["float32", "int8"], print)


def test_an_input_without_a_fixed_size_has_no_tflite():
    pipeline, notes = without_fixed_size(), []
    assert _choose_variants(pipeline, None, notes.append) == []
    assert notes == ["no .tflite: the image resizer of the config does not give a fixed input size"]
    with pytest.raises(UserError, match="--tflite: needs a fixed input size"):
        _choose_variants(pipeline, ["float32"], notes.append)
    # Suppression across classes is not computed, because no .tflite can use it.
    assert _choose_suppression(pipeline, Reference([], [], [], None, {1: "cat"})) == "regular"


def test_centernet_has_no_tflite():
    pipeline, notes = read_pipeline(find_template(SSD)), []
    pipeline.model.center_net.num_classes = 1
    assert _choose_variants(pipeline, None, notes.append) == []
    assert notes == ["no .tflite: only SSD and Faster R-CNN models can be converted"]
    with pytest.raises(UserError, match="--tflite: cannot convert a model of the type center_net"):
        _choose_variants(pipeline, ["float32"], notes.append)


def test_suppression_is_fast_without_objects_or_if_the_config_suppresses_across_classes():
    pipeline = read_pipeline(find_template(SSD))
    assert _choose_suppression(pipeline, None) == "regular"
    assert _choose_suppression(pipeline, Reference([], [], [], [], {1: "cat"})) == "fast"
    nms = pipeline.model.ssd.post_processing.batch_non_max_suppression
    nms.use_class_agnostic_nms = True
    assert _choose_suppression(pipeline, None) == "fast"


def test_help_lists_the_variants_of_each_architecture():
    text = " ".join(CliRunner().invoke(main, ["export", "--help"]).output.split())
    assert "SSD models are written as float32, float16, dynamic and int8" in text
    assert "Faster R-CNN as float32, float16 and dynamic" in text
