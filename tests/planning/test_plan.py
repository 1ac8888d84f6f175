"""Tests `planning.plan`: the pipeline and the settings of a plan, and plan.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import conversion
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.model.anchors import input_size
from tfod.model.earlier_detector import EarlierDetector
from tfod.model.pipeline import learning_rate_schedule, read_pipeline
from tfod.model.templates import find_template
from tfod.planning.facts import MachineFacts
from tfod.planning.plan import make_plan, plan_text
from tfod.planning.rules import SERVER_TEMPLATE, Wishes
from tfod.planning.targets import SERVER

SLOW = MachineFacts(gpus=0, cores=2, bfloat16=False, memory=8)
GPU = MachineFacts(gpus=1, cores=8, bfloat16=False, memory=64)


@pytest.fixture
def plan(data):
    return make_plan(data, Wishes(minutes=1), SLOW)


def test_every_choice_has_a_reason_and_says_what_would_change_it(plan):
    text = plan_text(plan, "signs")
    assert text.startswith("# Training plan for signs\n")
    for choice in plan.choices:
        assert choice.because and choice.otherwise
        lines = (f"{choice.what}: {choice.value}", f"  - because {choice.because}")
        assert "- {}\n{}\n  - would change with {}\n".format(*lines, choice.otherwise) in text
    assert len({choice.what for choice in plan.choices}) == len(plan.choices)


def test_minutes_decide_how_long_weights_are_averaged(data, plan):
    longer = make_plan(data, Wishes(minutes=100), SLOW)
    short, long = (p.pipeline.train_config for p in (plan, longer))
    assert plan.settings.minutes == 1
    assert 0.89 < short.optimizer.moving_average_decay < long.optimizer.moving_average_decay
    for config in (short, long):
        schedule = learning_rate_schedule(config)
        assert schedule.total_steps == config.num_steps
        assert schedule.warmup_steps <= config.num_steps / 10


def test_the_learning_rate_fits_the_batch_size(plan):
    assert plan.pipeline.train_config.batch_size == 4  # of 16; 16 scenes are few
    schedule = learning_rate_schedule(plan.pipeline.train_config)
    assert schedule.learning_rate_base == pytest.approx(0.0005)
    (optimizer,) = (choice.value for choice in plan.choices if choice.what == "optimizer")
    assert "learning rate 0.001 for 16 images per step, scaled with the square root" in optimizer


@pytest.mark.parametrize(("size", "first"), [(320, None), (448, 320)])
def test_the_settings_contain_the_size_of_the_first_steps(data, size, first):
    plan = make_plan(data, Wishes(minutes=1, input_size=size), SLOW)
    assert plan.settings.first_input_size == first


def test_a_large_model_keeps_its_template(data):
    plan = make_plan(data, Wishes(60, SERVER), GPU)
    assert plan.template == SERVER_TEMPLATE
    assert [choice.what for choice in plan.choices] == ["model"]


def test_a_plan_keeps_the_model_of_the_detector_it_starts_from(data, plan):
    pipeline = make_plan(data, Wishes(minutes=1, input_size=448), SLOW).pipeline
    pipeline.model.ssd.anchor_generator.multiscale_anchor_generator.anchor_scale = 1.5
    earlier = EarlierDetector(Path("runs/old"), pipeline, {1: "stop"})
    new = make_plan(data, Wishes(minutes=1), SLOW, earlier)
    assert new.pipeline.model == pipeline.model
    assert new.settings == make_plan(data, Wishes(minutes=1, input_size=448), SLOW).settings
    values = {choice.what: choice.value for choice in new.choices}
    assert values["model"] == "that of runs/old"
    assert values["training size"] == "448 x 448 pixels"
    assert values["anchors"] == "those of the earlier detector"
    larger = make_plan(data, Wishes(minutes=1, input_size=512), SLOW, earlier)
    assert max(input_size(larger.pipeline)) == 512


def test_a_large_earlier_detector_keeps_its_whole_configuration(data):
    pipeline = read_pipeline(find_template(SERVER_TEMPLATE))
    earlier = EarlierDetector(Path("runs/old"), pipeline, {1: "stop"})
    new = make_plan(data, Wishes(minutes=1), SLOW, earlier)
    assert new.pipeline == pipeline and new.pipeline is not pipeline
    assert [choice.what for choice in new.choices] == ["model"]


@pytest.mark.parametrize(("name", "flips"), [("stop", 1), ("turn left", 0)])
def test_a_config_without_the_flip_keeps_the_other_augmentation(tmp_path, name, flips):
    write_image(tmp_path / "voc/images/a.png")
    write_xml(tmp_path / "voc/annotations/a.xml", voc_object(name), filename="a.png")
    data = conversion.run(tmp_path / "voc", split=(1, 0, 0))
    options = make_plan(data, Wishes(minutes=1), SLOW).pipeline.train_config
    steps = [
        option.WhichOneof("preprocessing_step") for option in options.data_augmentation_options
    ]
    assert steps.count("random_horizontal_flip") == flips
    assert {"random_crop_image", "random_adjust_brightness"} < set(steps)
