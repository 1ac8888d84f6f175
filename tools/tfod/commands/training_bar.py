"""The progress bar of `tfod train`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfod.progress import Progress, open_bar
from tfod.training.events import EVALUATION

if TYPE_CHECKING:
    from tfod.training import Evaluation, Step


class TrainingBar:
    """Shows the steps of a training with the latest values, and what it does between them.

    Attributes:
      evaluations: those so far.
    """

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self._postfix: dict[str, str] = {}
        self._shown = 0.0  # time of the last description
        # The model is built and traced before the first step. Without `miniters`, tqdm takes the
        # first step of a resumed run for many, and then waits for as many.
        self._bar = open_bar(unit="step", desc="building", mininterval=0.5, miniters=1)

    def close(self) -> None:
        self._bar.close()

    def show_step(self, step: Step) -> None:
        bar = self._bar
        if bar.total is None:
            bar.reset(step.last)
            bar.initial = bar.n = step.number - 1
            bar.set_description("training", refresh=False)
        bar.total = step.last  # with --minutes, it is known after some steps
        self._postfix["epoch"] = f"{step.epoch:.1f}"
        self._postfix["loss"] = f"{step.total_loss:.3f}"
        self._postfix["images/s"] = f"{step.images_per_second:.1f}"
        bar.set_postfix(self._postfix, refresh=False)
        bar.update()

    def show_evaluation(self, evaluation: Evaluation) -> None:
        self._postfix["AP"] = f"{evaluation.ap:.3f}"
        self.evaluations.append(evaluation)

    def progress(self, other_stages: Progress) -> Progress:
        """Returns a `Progress` that shows evaluations in this bar, and other stages elsewhere."""

        def show(stage: str, done: int, total: int | None) -> None:
            if stage != EVALUATION:
                other_stages(stage, done, total)
                return
            is_end = done in (0, total)
            if is_end or time.monotonic() - self._shown >= self._bar.mininterval:
                description = "training" if done == total else f"{EVALUATION} {done}/{total}"
                self._bar.set_description(description)
                self._shown = time.monotonic()

        return show
