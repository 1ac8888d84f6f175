"""Tests `--first-input-size`: a smaller input in the first steps of a run."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from helpers.stub_learner import StubLearner
from tfod.cli import main
from tfod.errors import UserError
from tfod.model.pipeline import (
    Options,
    configure,
    read_pipeline,
    set_input_size,
    set_steps,
    write_pipeline,
)
from tfod.model.templates import find_template
from tfod.training.growing_input import first_size, mean_cost
from tfod.training.settings import RunSettings
from tfod.training.trainer import train

SIZE = 96  # of the tiny template
OPTIONS = Options(steps=9, batch_size=2)
SETTINGS = RunSettings(first_input_size=64)


@pytest.fixture
def asked(stub_learner, monkeypatch) -> list[tuple[int, int | None]]:
    """Steps done and size, each time that a run asks for batches."""
    sizes = []
    batches = StubLearner.training_batches

    def record(self, seed, balance, size):
        sizes.append((self.steps_done, size))
        return batches(self, seed, balance, size)

    monkeypatch.setattr(StubLearner, "training_batches", record)
    return sizes


def test_the_input_grows_after_two_thirds_of_the_steps(data, tiny_template, tmp_path, asked):
    arguments = ["train", "--data", data.folder, "--output", tmp_path / "run"]
    arguments += ["--pipeline", tiny_template, "--init", "scratch", "--steps", 9]
    arguments += ["--batch-size", 2, "--first-input-size", 64]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert asked == [(0, 64), (6, SIZE)]
    with (tmp_path / "run/metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["total_loss"]]
    assert steps == list(range(1, 10))


def test_all_steps_have_the_same_input_without_a_first_size(data, tiny_template, tmp_path, asked):
    train(data, str(tiny_template), tmp_path / "run", OPTIONS)
    assert asked == [(0, None)]


@pytest.mark.parametrize(
    ("interrupted", "sizes"),
    [
        (4, [(0, 64), (4, 64), (6, SIZE)]),
        pytest.param(6, [(0, 64), (6, SIZE)], marks=pytest.mark.slow),
        (7, [(0, 64), (6, SIZE), (7, SIZE)]),
    ],
)
def test_a_run_resumes_in_the_part_in_which_it_was_interrupted(
    data, tiny_template, tmp_path, asked, interrupted, sizes
):
    def interrupt(step):
        if step.number == interrupted:
            raise KeyboardInterrupt

    arguments = (data, str(tiny_template), tmp_path / "run", OPTIONS, SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, on_step=interrupt)
    train(*arguments)
    assert asked == sizes


def test_minutes_decide_when_the_input_grows(data, tiny_template, tmp_path, asked):
    pipeline = read_pipeline(tiny_template)
    set_steps(pipeline.train_config, 1_000_000)
    write_pipeline(pipeline, tmp_path / "pipeline.config")
    run = tmp_path / "run"
    settings = replace(SETTINGS, minutes=0.02, eval_every=1_000_000)
    train(data, str(tmp_path / "pipeline.config"), run, Options(batch_size=2), settings)
    steps = read_pipeline(run / "pipeline.config").train_config.num_steps
    assert asked == [(0, 64), (round(2 / 3 * steps), SIZE)]


@pytest.mark.parametrize(
    ("template", "first", "message"),
    [
        (None, 128, "is 128, which is larger than the training size of 96 pixels. Give a smaller"),
        (
            "faster_rcnn_resnet50_v1_640x640",
            320,
            "only works for SSD models with anchors and a fixed input size. Leave it out",
        ),
    ],
)
def test_a_first_size_that_cannot_be_used_is_reported(
    data, tiny_template, tmp_path, template, first, message
):
    config = tiny_template if template is None else find_template(template)
    settings = RunSettings(first_input_size=first)
    with pytest.raises(UserError, match=f"--first-input-size: {message}"):
        train(data, str(config), tmp_path / "run", OPTIONS, settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [448, 512, 640])
def test_a_step_with_the_first_size_takes_about_half_as_long(size):
    first = first_size(size)
    assert first % 32 == 0
    assert 0.44 <= (first / size) ** 2 <= 0.52
    assert mean_cost(first, size) == pytest.approx(2 / 3 * (first / size) ** 2 + 1 / 3)


@pytest.mark.parametrize(("size", "first"), [(50, 50), (320, 320), (384, 320)])
def test_first_steps_do_not_have_a_very_small_input(size, first):
    assert first_size(size) == first


@pytest.mark.long
def test_images_and_anchors_have_the_size_of_their_part(data, shallow_template):
    from tfod.training.learner import Learner

    def configured(size: int):
        pipeline = configure(shallow_template, data, Options(batch_size=2, steps=4))
        set_input_size(pipeline, size)
        return pipeline

    learner = Learner(configured(SIZE), RunSettings(losses="tight"))
    for size in (64, SIZE):
        done = learner.steps_done
        other = Learner(configured(size), RunSettings())
        other.step.assign(done)
        learner.set_steps(3)  # may become more again
        batches = list(learner.training_batches(1, False, size))
        assert len(batches) == 4 - done
        (first, *_), (expected, *_) = batches, other.training_batches(1, False)
        for part, expected_part in zip(first, expected, strict=True):
            assert part.keys() == expected_part.keys()
            for name, value in expected_part.items():
                np.testing.assert_array_equal(part[name], value, err_msg=name)
        assert np.isfinite(float(learner.train(*first)["Loss/total_loss"]))
    assert learner.steps_done == 2
