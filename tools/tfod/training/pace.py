"""How many steps of a run fit into `--minutes`."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from tfod.training.growing_input import FIRST_PART

FIRST_FIT = 20  # the step at which the number of steps is chosen first
NOT_TIMED = 5  # the first steps of a process are slower
EVALUATIONS = 10  # per run at most, unless the user sets their interval
# Of the run: for the evaluations during the training, and again for those of other input sizes
# after it. A large val split would leave no time for steps.
EVALUATION_SHARE = 0.2
INFERENCE_TRACING = 1 / 3  # of the duration of the first step, which also traces gradients
EVALUATION_SPEEDUP = 1.3  # an evaluation against training, in images per second


class Pace:
    """Times the steps and evaluations of a run.

    Args:
      minutes: that the run may take.
      eval_every: steps between evaluations; None for up to `EVALUATIONS` in the run.
      val_batches: images of the val split, divided by the batch size of the training.
      later_sizes: input sizes at which the val split is evaluated after the last step, as multiples
        of that during the training. Each traces a model.
      growth: duration of a step after the first part of the run, as a multiple of one before; see
        `growing_input`. Evaluations take as long as in the second part.

    Attributes:
      evaluations: how many there are in the run, unless the user sets their interval; known after
        the first call of `fitting_steps`.
      later_sizes: those of the argument that there is time for, at least the first.
    """

    def __init__(
        self,
        minutes: float,
        eval_every: int | None,
        val_batches: float,
        later_sizes: Sequence[float],
        growth: float = 1.0,
    ) -> None:
        self._minutes, self._eval_every = minutes, eval_every
        self._val_batches, self._sizes = val_batches, later_sizes
        self._growth = growth
        self.evaluations: int | None = None
        self.later_sizes = later_sizes
        self._steps: list[float] = []  # since the last fit
        self._traces = True  # whether the first of them have traced the model
        self._tracing = 0.0
        self._step = 0.0
        self._evaluations: list[float] = []

    def add_step(self, seconds: float) -> None:
        """Adds the duration of a step."""
        self._steps.append(seconds)

    def add_evaluation(self, seconds: float) -> None:
        """Adds the duration of an evaluation. The first does not count: it traces the model."""
        self._evaluations.append(seconds)

    def end_first_part(self) -> None:
        """Says that the next steps have the larger input. They trace the model again."""
        self._step *= self._growth
        self._growth = 1.0
        self._steps.clear()
        self._traces = True

    def fitting_steps(self, done: int, elapsed: float) -> int:
        """Returns the number of steps of the whole run that fit, by the latest durations.

        Args:
          done: steps that are done.
          elapsed: seconds since the start of the run.
        """
        self._time_steps()
        evaluation = self._val_batches * self._step * self._growth / EVALUATION_SPEEDUP
        if len(self._evaluations) > 1:
            evaluation = self._evaluations[-1]
        tracing = INFERENCE_TRACING * self._tracing
        most = EVALUATION_SHARE * 60 * self._minutes
        later = list(itertools.accumulate(tracing + size**2 * evaluation for size in self._sizes))
        fitting = max(1, sum(seconds <= most for seconds in later))
        self.later_sizes = self._sizes[:fitting]
        left = 60 * self._minutes - elapsed - sum(later[:fitting][-1:])
        if self._growth != 1:
            left -= self._tracing
        first, second = self._step, self._step * self._growth
        if self._eval_every is None:
            # Evaluations follow at equal distances in time.
            if self.evaluations is None:
                count = int(most / evaluation) if evaluation else EVALUATIONS
                self.evaluations = max(1, min(EVALUATIONS, count))
            share = max(0.0, 1 - elapsed / (60 * self._minutes))
            left -= math.ceil(self.evaluations * share) * evaluation
        else:
            first, second = (step + evaluation / self._eval_every for step in (first, second))
        # The first part ends at FIRST_PART of all steps, not of those that are left.
        mean = first + (1 - FIRST_PART) * (second - first)
        return done + max(1, int((left - done * (mean - first)) / mean))

    def _time_steps(self) -> None:
        """Sets the duration of a step, by those since the last call."""
        if self._traces and len(self._steps) > NOT_TIMED:
            self._tracing = self._steps[0]
            self._step = statistics.median(self._steps[NOT_TIMED:])
            self._traces = False
            self._steps.clear()
        elif self._steps and not self._traces:
            self._step = statistics.fmean(self._steps)
            self._steps.clear()
