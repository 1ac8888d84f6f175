"""The events and errors that training reports to its caller."""

from __future__ import annotations

from dataclasses import dataclass

from tfod.errors import UserError

TOTAL_LOSS = "Loss/total_loss"
EVALUATION = "evaluating"  # stage of a `Progress`: the val split during training


class WorkerLostError(UserError):
    """Another worker of the run has stopped, and this one cannot continue alone.

    Attributes:
      made_progress: whether this process completed a step before, so that a restart makes sense.
    """

    def __init__(self, made_progress: bool) -> None:
        self.made_progress = made_progress
        remedy = (
            "Restart all workers with the same command, without --overwrite: they resume from the "
            "last checkpoint"
        )
        super().__init__("TF_CONFIG", "names a worker that has stopped", remedy)


def memory_error(batch_size: int, replicas: int, parts: int, resumes: bool) -> UserError:
    """Returns the error for a batch that does not fit into memory.

    Args:
      replicas: number of devices that share the batch.
      parts: number of parts that the batch was processed in.
      resumes: the run has a checkpoint.
    """
    images = f"part of {batch_size // parts}" if parts > 1 else f"batch of {batch_size}"
    what = f"is {batch_size}, and a {images} images does not fit into memory"
    half = batch_size // 2 // replicas * replicas
    wait = "If other programs use the memory, stop them and repeat the command to resume"
    if replicas == 1 and parts < batch_size:
        more = next(n for n in range(parts + 1, batch_size + 1) if batch_size % n == 0)
        remedy = f"with --accumulate {more}, which processes each batch in {more} parts"
        remedy = f"{wait}. Otherwise resume {remedy}" if resumes else f"Repeat the command {remedy}"
    elif replicas == 1 or not half:
        remedy = "Choose a smaller model or --input-size"
    elif resumes:  # its training may have taken hours
        remedy = f"{wait}. Otherwise train with --batch-size {half} into another --output"
    else:
        remedy = (
            f"Repeat the command with --batch-size {half} --overwrite, or choose a smaller "
            "model or --input-size"
        )
    return UserError("--batch-size", what, remedy)


@dataclass(frozen=True)
class Step:
    """One training step.

    Attributes:
      number: counts from 1.
      last: number of the last step of the run.
      epoch: images of all steps up to this one, as a multiple of the images in the train split.
      losses: by OD API name, such as `Loss/localization_loss`.
      learning_rate: the rate of this step.
      images_per_second: batch size divided by the time since the previous step, without
        evaluations and checkpoints.
    """

    number: int
    last: int
    epoch: float
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float

    @property
    def total_loss(self) -> float:
        return self.losses[TOTAL_LOSS]


@dataclass(frozen=True)
class Evaluation:
    """Results on the val split during training.

    Attributes:
      step: number of the step that was completed last.
      epoch: see `Step`.
      losses: means over the split, by OD API name.
      metrics: the twelve COCO metrics, see `evaluation.Metrics.coco`.
      best: whether this is the highest AP of the run so far.
    """

    step: int
    epoch: float
    losses: dict[str, float]
    metrics: dict[str, float | None]
    best: bool

    @property
    def ap(self) -> float:
        return self.metrics["AP"] or 0.0
