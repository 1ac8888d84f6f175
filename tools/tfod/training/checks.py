"""Checks before a training: what `train` cannot do with this run folder, data set or model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.dataset.manifest import Dataset
from tfod.errors import UserError
from tfod.files import refuse_to_replace
from tfod.model.anchors import input_size
from tfod.model.pipeline import Options, learning_rate_schedule, read_pipeline
from tfod.model.run_folder import RunFolder
from tfod.training import strategy as strategies
from tfod.training.choices import TIGHT
from tfod.training.differences import option_differences
from tfod.training.input import assigns_targets
from tfod.training.settings import MACHINE_SETTINGS, RunSettings, read_settings
from tfod.training.xla import check_gpu

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig


def is_used(output: Path) -> bool:
    """Whether a path exists and is not an empty folder."""
    return output.exists() and not (output.is_dir() and not any(output.iterdir()))


def check_output(output: Path, data: Dataset, options: Options) -> None:
    """Raises a UserError if a new run would replace its own input, or a folder without a run."""
    if output.name in ("", ".."):
        raise UserError(output, "is not a folder name", "Give a new folder")
    initial = [] if options.init is None else [options.init]
    refuse_to_replace(output, [data.folder, *initial])
    if is_used(output) and not RunFolder(output).is_run:
        raise UserError(output, "is not a run folder", "Choose another --output")


def check_same_run(
    output: Path, pipeline: TrainEvalPipelineConfig, settings: RunSettings, options: Options
) -> int:
    """Returns the number of steps that the run to resume has; the new one may be larger.

    Raises:
      UserError: the run has other settings, apart from `MACHINE_SETTINGS`.
    """
    run = RunFolder(output)
    old_settings, old = read_settings(run), read_pipeline(run.config)
    of_machine = {name: getattr(settings, name) for name in MACHINE_SETTINGS}
    old_settings = replace(old_settings, **of_machine)
    steps, new_steps = old.train_config.num_steps, pipeline.train_config.num_steps
    if options.steps is not None or options.epochs is not None:
        old_settings = replace(old_settings, minutes=None)  # has done its work
        if new_steps > steps:
            old.train_config.num_steps = new_steps
            schedule, new = map(learning_rate_schedule, (old.train_config, pipeline.train_config))
            schedule.total_steps, schedule.warmup_steps = new.total_steps, new.warmup_steps
    before, now = (old_settings, old), (settings, pipeline)
    if before != now:
        raise UserError(
            output,
            f"contains a run with other settings: {'; '.join(option_differences(before, now))}",
            "Repeat its command to resume it, choose another --output, or replace it with "
            "--overwrite",
        )
    return steps


def check_data(data: Dataset, batch_size: int, replicas: int, parts: int) -> None:
    """Raises a UserError if there is nothing to train on, or a batch cannot be divided.

    Args:
      replicas: number of devices that share a batch.
      parts: see `RunSettings.accumulate`.
    """
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
    if parts == 1:
        return
    if replicas > 1:
        what = f"works on one device, and this training has {replicas}, which share each batch"
        raise UserError(
            "--accumulate", what, f"Leave it out, or train with --strategy {strategies.ONE_DEVICE}"
        )
    if batch_size % parts:
        divisors = [number for number in range(2, batch_size + 1) if batch_size % number == 0]
        what = f"is {parts}, and {batch_size} images cannot be divided into {parts} equal parts"
        raise UserError("--accumulate", what, f"Give {' or '.join(map(str, divisors))}")


def check_choices(pipeline: TrainEvalPipelineConfig, settings: RunSettings) -> None:
    """Raises a UserError if the model or the machine cannot train with these settings."""
    if settings.jit:
        check_gpu()
    only = "only works for SSD models with anchors and a fixed input size"
    first = settings.first_input_size
    if not assigns_targets(pipeline):
        if settings.losses == TIGHT:
            raise UserError("--losses", f"{TIGHT} {only}", "Leave it out")
        if first is not None:
            raise UserError("--first-input-size", only, "Leave it out")
    if first is None:
        return
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
    for option, value in (("--steps", options.steps), ("--epochs", options.epochs)):
        if value is not None:
            raise UserError("--minutes", f"cannot be combined with {option}", "Give one of the two")
    if strategies.worker_count(distribution):
        raise UserError("--minutes", "cannot be used with several machines", "Give --steps")
    schedule = learning_rate_schedule(pipeline.train_config)
    if not hasattr(schedule, "total_steps"):
        what = f"cannot change the schedule {schedule.DESCRIPTOR.name}"
        raise UserError("--minutes", what, "Use cosine_decay_learning_rate, or give --steps")
