"""Tests `training.pace`, with durations instead of a training."""

from __future__ import annotations

import pytest

from tfod.training.pace import EVALUATIONS, Pace

HOUR = 3600


def new_pace(
    eval_every: int | None = None,
    val_batches: float = 0,
    later: tuple[float, ...] = (),
    growth: float = 1,
) -> Pace:
    """Returns the pace of a run of one hour, after 20 steps of two seconds and slow first ones."""
    pace = Pace(60, eval_every, val_batches, later, growth)
    for seconds in [20, 10, 5, 4, 3] + [2] * 15:
        pace.add_step(seconds)
    return pace


def test_the_time_left_is_filled_with_steps():
    assert new_pace().fitting_steps(20, elapsed=100) == 20 + (HOUR - 100) // 2


def test_time_for_evaluations_is_kept():
    evaluation = 26 * 2 / 1.3  # seconds
    pace = new_pace(val_batches=26)
    assert pace.fitting_steps(20, 100) == 20 + (HOUR - 100 - EVALUATIONS * evaluation) // 2


def test_time_for_the_sizes_after_the_training_is_kept():
    evaluation = 26 * 2 / 1.3
    tracing = 20 / 3  # a third of the first step
    pace = new_pace(val_batches=26, later=(1, 1.5))
    later = 2 * tracing + (1 + 1.5**2) * evaluation
    assert pace.fitting_steps(20, 100) == 20 + (HOUR - 100 - 10 * evaluation - later) // 2


def test_a_large_val_split_leaves_time_for_steps():
    """Ten evaluations and those of four sizes would take longer than the run."""
    evaluation = 200 * 2 / 1.3  # seconds
    tracing = 20 / 3
    pace = new_pace(val_batches=200, later=(1, 1.15, 1.3))
    steps = pace.fitting_steps(20, 100)
    assert pace.evaluations == 2  # of 308 seconds, in 720
    assert pace.later_sizes == (1,)  # the next one takes 407 seconds
    assert steps == 20 + (HOUR - 100 - 2 * evaluation - tracing - evaluation) // 2
    pace = new_pace(val_batches=2000, later=(1, 1.15))
    assert pace.fitting_steps(20, 100) == 21  # one evaluation and one size are the least
    assert (pace.evaluations, pace.later_sizes) == (1, (1,))


@pytest.mark.parametrize("eval_every", [1, 50])
def test_the_interval_of_evaluations_decides_how_many_there_are(eval_every):
    evaluation = 26 * 2 / 1.3
    steps = new_pace(eval_every, val_batches=26).fitting_steps(20, 100)
    assert steps == 20 + (HOUR - 100) // (2 + evaluation / eval_every)


def test_a_machine_that_becomes_slower_trains_fewer_steps():
    pace = new_pace()
    first = pace.fitting_steps(20, 100)
    for _ in range(100):
        pace.add_step(4)
    assert pace.fitting_steps(120, 500) == 120 + (HOUR - 500) // 4 < first


def test_only_the_first_evaluation_is_guessed():
    pace = new_pace(val_batches=26)
    pace.fitting_steps(20, 100)
    pace.add_step(2)
    pace.add_evaluation(300)  # traces the model
    half = HOUR // 2
    assert pace.fitting_steps(21, half) == 21 + (half - 5 * 26 * 2 / 1.3) // 2
    pace.add_step(2)
    pace.add_evaluation(10)
    assert pace.fitting_steps(22, half) == 22 + (half - 5 * 10) // 2


def test_one_more_step_follows_when_the_time_is_over():
    assert new_pace().fitting_steps(20, HOUR + 5) == 21


def test_steps_after_the_first_part_take_longer():
    pace = new_pace(growth=2.5)
    steps = pace.fitting_steps(20, elapsed=100)
    tracing = 20  # the first step
    expected = tracing + (2 / 3 * steps - 20) * 2 + 1 / 3 * steps * 5
    assert expected == pytest.approx(HOUR - 100, abs=3)


@pytest.mark.parametrize("eval_every", [None, 50])
def test_evaluations_have_the_size_of_the_last_steps(eval_every):
    evaluation = 26 * 5 / 1.3
    steps = new_pace(eval_every, val_batches=26, growth=2.5).fitting_steps(20, 100)
    evaluations = steps / eval_every if eval_every else 7  # of 100 seconds, in 720
    expected = 20 + (2 / 3 * steps - 20) * 2 + 1 / 3 * steps * 5 + evaluations * evaluation
    assert expected == pytest.approx(HOUR - 100, abs=60)


def test_steps_of_the_last_part_are_timed_anew():
    pace = new_pace(growth=2.5)
    pace.fitting_steps(20, 100)
    pace.end_first_part()
    half = HOUR // 2
    assert pace.fitting_steps(600, half) == 600 + half // 5  # a guess
    for seconds in [40] + [6] * 30:  # the first one traces the model
        pace.add_step(seconds)
    assert pace.fitting_steps(631, half) == 631 + half // 6
    for _ in range(10):
        pace.add_step(7)
    assert pace.fitting_steps(641, half) == 641 + half // 7
