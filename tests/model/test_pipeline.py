"""Tests `model.pipeline` and the templates: zoo architectures, data paths and options."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
from google.protobuf import text_format

from helpers.protos import batch_norms
from helpers.templates import ZOO
from tfod.errors import UserError
from tfod.model.anchors import input_size
from tfod.model.pipeline import (
    Options,
    architecture,
    configure,
    learning_rate_schedule,
    max_detections,
    read_pipeline,
    suppression,
    write_pipeline,
)
from tfod.model.templates import find_template, template_names


def test_all_zoo_templates_exist():
    assert set(ZOO) < set(template_names())


@pytest.mark.parametrize("name", ZOO)
def test_the_architecture_equals_the_model_zoo(name, shared):
    from object_detection.protos import pipeline_pb2

    text = (shared / "zoo" / "model_protos" / f"{name}_coco17_tpu-8.pbtxt").read_text()
    zoo = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig()).model
    template = read_pipeline(find_template(name)).model
    for model in (zoo, template):  # the batch norm decay affects training only
        for batch_norm in batch_norms(model):
            batch_norm.ClearField("decay")
    assert template == zoo


def test_templates_of_one_architecture_differ_in_input_size_only():
    for small, large in (
        ("ssd_mobilenet_v2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_640x640"),
        ("ssd_resnet50_v1_fpn_640x640", "ssd_resnet50_v1_fpn_1024x1024"),
        ("faster_rcnn_resnet50_v1_640x640", "faster_rcnn_resnet50_v1_1024x1024"),
    ):
        models = [architecture(read_pipeline(find_template(name))) for name in (small, large)]
        for model in models:
            model.ClearField("image_resizer")
        assert models[0] == models[1]


@pytest.mark.parametrize("name", template_names())
def test_the_od_api_reads_a_template_with_a_schedule_for_short_runs(name):
    from object_detection.utils import config_util

    configs = config_util.get_configs_from_pipeline_file(str(find_template(name)))
    train_config = configs["train_config"]
    schedule = learning_rate_schedule(train_config)
    assert schedule.total_steps == train_config.num_steps
    assert 0 < schedule.warmup_steps <= train_config.num_steps / 5
    augmentations = {
        option.WhichOneof("preprocessing_step") for option in train_config.data_augmentation_options
    }
    assert {"random_horizontal_flip", "random_crop_image"} <= augmentations
    if name in ZOO:
        assert {"random_adjust_brightness", "random_adjust_contrast"} <= augmentations
    for batch_norm in batch_norms(configs["model"]):
        assert batch_norm.decay < 0.98  # the zoo's 0.997 needs thousands of steps


def test_configure_sets_the_data_paths_and_options(data):
    template = find_template("ssd_mobilenet_v2_fpnlite_320x320")
    pipeline = configure(template, data, Options(input_size=448, steps=600, batch_size=8))
    assert architecture(pipeline).num_classes == 4
    assert input_size(pipeline) == (448, 448)
    assert list(pipeline.train_input_reader.tf_record_input_reader.input_path) == [
        str(shard.resolve()) for shard in data.splits["train"].shards
    ]
    assert pipeline.eval_input_reader[0].label_map_path == str(data.label_map.resolve())
    train_config = pipeline.train_config
    schedule = learning_rate_schedule(train_config)
    assert (train_config.num_steps, schedule.total_steps, schedule.warmup_steps) == (600, 600, 60)
    assert train_config.batch_size == 8
    assert schedule.learning_rate_base == pytest.approx(0.02)  # the batch size is halved
    assert not train_config.fine_tune_checkpoint


def test_adam_scales_its_rate_with_the_root_of_the_batch_size(data, tmp_path):
    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_fpnlite_320x320"))
    schedule = deepcopy(learning_rate_schedule(pipeline.train_config))
    rate = pipeline.train_config.optimizer.adam_optimizer.learning_rate
    rate.cosine_decay_learning_rate.CopyFrom(schedule)
    write_pipeline(pipeline, tmp_path / "pipeline.config")
    scaled = configure(tmp_path / "pipeline.config", data, Options(batch_size=4))
    assert learning_rate_schedule(scaled.train_config).learning_rate_base == pytest.approx(0.02)


def test_an_image_with_many_objects_keeps_all_its_boxes(data):
    template = find_template("ssd_mobilenet_v2_320x320")
    assert configure(template, data, Options()).train_input_reader.max_number_of_boxes == 100
    crowded = replace(data.splits["train"], most_objects=240)
    data = replace(data, splits={**data.splits, "train": crowded})
    assert configure(template, data, Options()).train_input_reader.max_number_of_boxes == 240


def test_every_architecture_has_a_maximum_number_of_detections(tmp_path):
    assert max_detections(read_pipeline(find_template("ssd_mobilenet_v2_320x320"))) == 100
    assert max_detections(read_pipeline(find_template("faster_rcnn_resnet50_v1_640x640"))) == 300
    centernet = "model { center_net { object_center_params { max_box_predictions: 70 } } }"
    (tmp_path / "pipeline.config").write_text(centernet)
    pipeline = read_pipeline(tmp_path / "pipeline.config")
    assert suppression(pipeline) is None
    assert max_detections(pipeline) == 70


def test_without_options_the_template_is_unchanged(data):
    template = find_template("ssd_resnet50_v1_fpn_640x640")
    configured, original = configure(template, data, Options()), read_pipeline(template)
    assert configured.train_config == original.train_config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model { ssd { num_clases: 3 } }", "num_clases"),
        ("\xff\xfe not text", "it is not text"),
        ("", "contains no model"),
        ("train_config { batch_size: 4 }", "contains no model"),
    ],
)
def test_an_invalid_config_is_reported_in_one_line(tmp_path, text, message):
    path = tmp_path / "pipeline.config"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message) as error:
        read_pipeline(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_layers_are_frozen_only_if_they_are_restored(data, tmp_path):
    template = find_template("ssd_mobilenet_v2_fpnlite_320x320")
    pipeline = configure(template, data, Options(init=tmp_path / "ckpt-0", init_type="detection"))
    assert list(pipeline.train_config.freeze_variables) == [
        "(Conv1|bn_Conv1|expanded_conv|block_1_)"
    ]
    assert not configure(template, data, Options()).train_config.freeze_variables


def test_an_unknown_template_is_reported_with_the_known_ones():
    with pytest.raises(UserError, match="faster_rcnn_resnet50_v1_640x640"):
        find_template("yolo")


def test_options_that_do_not_fit_the_schedule_are_reported(data, tmp_path):
    path = tmp_path / "pipeline.config"
    text = find_template("ssd_mobilenet_v2_320x320").read_text()
    start, end = text.index("cosine_decay_learning_rate"), text.index("momentum_optimizer_value")
    constant = "constant_learning_rate { learning_rate: 0.01 } }\n"
    path.write_text(text[:start] + constant + text[end:])
    with pytest.raises(UserError, match="its schedule ConstantLearningRate cannot be changed"):
        configure(path, data, Options(steps=5))
    assert configure(path, data, Options()).train_config.num_steps == 3000


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_learning_rate_of_0_or_less_is_reported(rate, data):
    with pytest.raises(UserError, match=f"--learning-rate: is {rate}. Give a number above 0"):
        configure(find_template(ZOO[0]), data, Options(learning_rate=rate))


def test_epochs_are_passes_through_the_train_split(data):
    template, images = find_template(ZOO[0]), data.splits["train"].images
    configured = configure(template, data, Options(epochs=3, batch_size=images)).train_config
    assert (configured.num_steps, learning_rate_schedule(configured).total_steps) == (3, 3)
    options = Options(epochs=0.001, batch_size=4)
    assert configure(template, data, options).train_config.num_steps == 1
    with pytest.raises(UserError, match="--epochs: cannot be combined with --steps"):
        configure(template, data, Options(epochs=3, steps=3))
    with pytest.raises(UserError, match=r"--epochs: is inf\. Give a number above 0"):
        configure(template, data, Options(epochs=math.inf))


@pytest.mark.parametrize("optimizer", ["", "optimizer { adam_optimizer { } }"])
def test_a_config_without_a_learning_rate_is_reported(optimizer, data, tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_text(f"model {{ ssd {{ }} }} train_config {{ {optimizer} }}")
    with pytest.raises(UserError, match="contains no optimizer with a learning rate"):
        configure(path, data, Options())


def test_a_label_map_with_gaps_is_reported(data):
    with_gap = replace(data, classes={1: "a", 3: "b"})
    with pytest.raises(UserError, match="Number the classes from 1"):
        configure(find_template("ssd_mobilenet_v2_320x320"), with_gap, Options())
