"""Checks before a training: what `train` cannot do with this data set, model or schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfod.dataset.manifest import Dataset
from tfod.errors import UserError
from tfod.model.anchors import input_size
from tfod.model.pipeline import Options, learning_rate_schedule
from tfod.training import strategy as strategies
from tfod.training.choices import TIGHT
from tfod.training.input import assigns_targets
from tfod.training.settings import RunSettings

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig


def check_data(data: Dataset, batch_size: int, replicas: int) -> None:
    """Raises a UserError if there is nothing to train on, or devices cannot share a batch."""
    if "train" not in data.splits:
        remedy = "Run tfod convert again with a train fraction above 0"
        raise UserError(data.folder, "has no train split", remedy)
    if not data.splits["train"].objects:
        raise UserError(data.folder, "its train split contains no object", "Annotate some objects")
    if batch_size % replicas:
        raise UserError(
            "--batch-size",
            f"is {batch_size}, which {replicas} devices cannot share evenly",
            f"Give a multiple of {replicas}",
        )


def check_choices(pipeline: TrainEvalPipelineConfig, settings: RunSettings) -> None:
    """Raises a UserError if the model cannot be trained with the chosen losses and input sizes."""
    if settings.losses == TIGHT and not assigns_targets(pipeline):
        what = f"{TIGHT} only works for SSD models with a fixed input size"
        raise UserError("--losses", what, "Leave it out")
    first = settings.first_input_size
    if first is None:
        return
    if not assigns_targets(pipeline):
        what = "only works for SSD models with a fixed input size"
        raise UserError("--first-input-size", what, "Leave it out")
    size = max(input_size(pipeline))
    if first > size:
        what = f"is {first}, which is larger than the training size of {size} pixels"
        raise UserError("--first-input-size", what, "Give a smaller one")


def check_minutes(
    options: Options,
    settings: RunSettings,
    pipeline: TrainEvalPipelineConfig,
    distribution: tf.distribute.Strategy,
) -> None:
    """Raises a UserError if the number of steps cannot be fitted to `minutes`."""
    if options.steps is not None:
        raise UserError("--minutes", "cannot be combined with --steps", "Give one of the two")
    if strategies.worker_count(distribution):
        raise UserError("--minutes", "cannot be used with several machines", "Give --steps")
    schedule = learning_rate_schedule(pipeline.train_config)
    if not hasattr(schedule, "total_steps"):
        what = f"cannot change the schedule {schedule.DESCRIPTOR.name}"
        raise UserError("--minutes", what, "Use cosine_decay_learning_rate, or give --steps")
