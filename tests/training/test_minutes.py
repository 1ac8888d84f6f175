"""Tests `tfod train --minutes`: the number of steps follows from their speed; without a model."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tfod.errors import UserError
from tfod.model.pipeline import (
    Options,
    learning_rate_schedule,
    read_pipeline,
    set_steps,
    write_pipeline,
)
from tfod.training.events import Step
from tfod.training.pace import FIRST_FIT, Pace
from tfod.training.settings import RunSettings
from tfod.training.trainer import train

pytestmark = pytest.mark.usefixtures("stub_learner")
OPTIONS = Options(batch_size=2)
MOST_STEPS = 1_000_000
SETTINGS = RunSettings(minutes=0.02, eval_every=1_000_000)


@pytest.fixture
def template(tiny_template, tmp_path) -> Path:
    pipeline = read_pipeline(tiny_template)
    set_steps(pipeline.train_config, MOST_STEPS)
    path = tmp_path / "template/pipeline.config"
    path.parent.mkdir()
    write_pipeline(pipeline, path)
    return path


def test_the_first_steps_decide_how_many_fit(data, template, tmp_path):
    run, steps = tmp_path / "run", list[Step]()
    train(data, str(template), run, OPTIONS, SETTINGS, on_step=steps.append)
    config = read_pipeline(run / "pipeline.config").train_config
    assert [step.number for step in steps] == list(range(1, config.num_steps + 1))
    assert {step.last for step in steps[FIRST_FIT:]} == {config.num_steps}
    schedule = learning_rate_schedule(config)
    assert schedule.total_steps == config.num_steps > FIRST_FIT
    assert schedule.warmup_steps <= config.num_steps / 10


def test_the_steps_of_the_config_are_the_most(data, template, tmp_path):
    pipeline = read_pipeline(template)
    set_steps(pipeline.train_config, FIRST_FIT + 7)
    write_pipeline(pipeline, template)
    steps = list[Step]()
    hour = replace(SETTINGS, minutes=60)
    train(data, str(template), tmp_path / "run", OPTIONS, hour, on_step=steps.append)
    assert len(steps) == FIRST_FIT + 7


@pytest.mark.parametrize(
    "interrupted", [FIRST_FIT // 2, pytest.param(FIRST_FIT + 5, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_resumes_and_keeps_its_number_of_steps(
    data, template, tmp_path, interrupted
):
    def interrupt(step):
        if step.number == interrupted:
            raise KeyboardInterrupt

    arguments = (data, str(template), tmp_path / "run", OPTIONS, SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, on_step=interrupt)
    config = tmp_path / "run/pipeline.config"
    before, steps = read_pipeline(config).train_config.num_steps, list[int]()
    assert (before == MOST_STEPS) == (interrupted < FIRST_FIT)
    train(*arguments, on_step=lambda step: steps.append(step.number))
    after = read_pipeline(config).train_config.num_steps
    assert steps == list(range(interrupted + 1, after + 1))
    assert after < MOST_STEPS and before in (after, MOST_STEPS)


def test_a_run_whose_number_of_steps_fell_and_rose_can_be_resumed(
    data, template, tmp_path, monkeypatch
):
    pipeline = read_pipeline(template)
    learning_rate_schedule(pipeline.train_config).warmup_steps = 1000
    write_pipeline(pipeline, template)
    fitting = iter([200, 150, 250])
    monkeypatch.setattr(Pace, "fitting_steps", lambda *_: next(fitting))

    def interrupt(step):
        if step.number == 70:
            raise KeyboardInterrupt

    settings = replace(SETTINGS, eval_every=30, checkpoint_every=10)
    arguments = (data, str(template), tmp_path / "run", OPTIONS, settings)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, on_step=interrupt)  # fitted after the first steps, and at 30 and 60
    config = tmp_path / "run/pipeline.config"
    assert learning_rate_schedule(read_pipeline(config).train_config).warmup_steps == 25
    steps = list[int]()
    train(*arguments, on_step=lambda step: steps.append(step.number))
    assert steps == list(range(71, 251))


def test_minutes_need_a_schedule_that_can_change(data, template, tmp_path):
    train_with = (data, str(template), tmp_path / "run")
    with pytest.raises(UserError, match="--minutes: cannot be combined with --steps"):
        train(*train_with, replace(OPTIONS, steps=5), SETTINGS)
    pipeline = read_pipeline(template)
    rate = pipeline.train_config.optimizer.momentum_optimizer.learning_rate
    rate.constant_learning_rate.learning_rate = 0.1
    write_pipeline(pipeline, template)
    message = "--minutes: cannot change the schedule ConstantLearningRate. Use cosine_decay"
    with pytest.raises(UserError, match=message):
        train(data, str(template), tmp_path / "run", Options(), SETTINGS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("steps", "eval_every", "evaluated"),
    [
        (20, None, [*range(2, 21, 2)]),
        (22, None, [3, 6, 9, 12, 15, 18, 22]),  # not 21, right before the last step
        (22, 7, [7, 14, 21, 22]),  # as the user says
        (3, None, [1, 2, 3]),
    ],
)
def test_the_last_step_is_evaluated_and_none_right_before_it(
    data, tiny_template, tmp_path, steps, eval_every, evaluated
):
    numbers = list[int]()
    settings = RunSettings(eval_every=eval_every)
    options = Options(batch_size=2, steps=steps)
    train(
        *(data, str(tiny_template), tmp_path / "run", options, settings),
        on_evaluation=lambda evaluation: numbers.append(evaluation.step),
    )
    assert numbers == evaluated


def test_slow_evaluations_are_few(data, template, tmp_path, stub_learner):
    """There is only time for the least: one evaluation, and the size of the training."""
    stub_learner(lambda step: time.sleep(0.01) or 1.0)
    settings = RunSettings(minutes=0.001, detection_sizes=True)
    sizes, evaluations = list[float](), list[int]()

    def choose(run, data, progress, factors):
        sizes.extend(factors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfod.training.trainer.choose_detection", choose)
        train(
            *(data, str(template), tmp_path / "run", OPTIONS, settings),
            on_evaluation=lambda evaluation: evaluations.append(evaluation.step),
        )
    assert sizes == [1.0]
    assert evaluations == [FIRST_FIT + 1]
