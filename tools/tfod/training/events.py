"""What a run reports while it trains."""

from __future__ import annotations

from dataclasses import dataclass

from tfod.errors import UserError


class WorkerLostError(UserError):
    """Another worker of the run is gone, and this one cannot go on alone.

    Attributes:
      had_begun: whether steps were done before, so that it makes sense to begin anew.
    """

    def __init__(self, had_begun: bool) -> None:
        self.had_begun = had_begun
        remedy = "Start all of them again, with the same command: they go on from the checkpoint"
        super().__init__("TF_CONFIG", "names a worker that is gone", remedy)


@dataclass(frozen=True)
class Step:
    """One training step as shown while it runs.

    Attributes:
      number: 1 for the first.
      of: the last.
      losses: by OD API name, such as `Loss/localization_loss`.
      learning_rate: the rate this step used.
      images_per_second: batch size by the time since the step before.
    """

    number: int
    of: int
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float

    @property
    def total_loss(self) -> float:
        return self.losses["Loss/total_loss"]


@dataclass(frozen=True)
class Evaluation:
    """How good a run was at a step, on the val split.

    Attributes:
      step: after which.
      losses: means over the split, by OD API name.
      metrics: COCO's twelve numbers, see `evaluation.Metrics.coco`.
      best: its AP is the highest so far.
    """

    step: int
    losses: dict[str, float]
    metrics: dict[str, float | None]
    best: bool

    @property
    def ap(self) -> float:
        return self.metrics["AP"] or 0.0
