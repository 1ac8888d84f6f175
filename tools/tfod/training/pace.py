"""How many steps of a run fit into `--minutes`."""

from __future__ import annotations

import math
import statistics

FIRST_FIT = 20  # the step at which the number of steps is chosen first
NOT_TIMED = 5  # the first steps of a process are slower
EVALUATIONS = 10  # per run, unless the user sets their interval
EVALUATION_SPEEDUP = 1.3  # an evaluation against training, in images per second


class Pace:
    """Times the steps and evaluations of a run.

    Args:
      minutes: that the run may take.
      eval_every: steps between evaluations; None for `EVALUATIONS` in the run.
      val_batches: images of the val split, divided by the batch size of the training.
      later_evaluations: evaluations of the val split after the last step, as multiples of one
        during the training.
    """

    def __init__(
        self,
        minutes: float,
        eval_every: int | None,
        val_batches: float,
        later_evaluations: float,
    ) -> None:
        self._minutes, self._eval_every = minutes, eval_every
        self._val_batches, self._later_evaluations = val_batches, later_evaluations
        self._steps: list[float] = []
        self._step: float | None = None
        self._evaluations: list[float] = []

    def add_step(self, seconds: float) -> None:
        """Adds the duration of a step."""
        self._steps.append(seconds)

    def add_evaluation(self, seconds: float) -> None:
        """Adds the duration of an evaluation. The first does not count: it traces the model."""
        self._evaluations.append(seconds)

    def fitting_steps(self, done: int, elapsed: float) -> int:
        """Returns the number of steps of the whole run that fit, by the latest durations.

        Args:
          done: steps that are done.
          elapsed: seconds since the start of the run.
        """
        if self._step is None:
            self._step = statistics.median(self._steps[NOT_TIMED:] or self._steps)
        elif self._steps:
            self._step = statistics.fmean(self._steps)
        self._steps.clear()
        evaluation = self._val_batches * self._step / EVALUATION_SPEEDUP
        if len(self._evaluations) > 1:
            evaluation = self._evaluations[-1]
        left = 60 * self._minutes - elapsed - self._later_evaluations * evaluation
        if self._eval_every is None:
            # Evaluations follow at equal distances in time.
            share = max(0.0, 1 - elapsed / (60 * self._minutes))
            left -= math.ceil(EVALUATIONS * share) * evaluation
            return done + max(1, int(left / self._step))
        return done + max(1, int(left / (self._step + evaluation / self._eval_every)))
