"""Says in which options two runs differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from tfod.model.pipeline import learning_rate_schedule
from tfod.training.settings import RunSettings

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig


def option_differences(
    old: tuple[RunSettings, TrainEvalPipelineConfig],
    new: tuple[RunSettings, TrainEvalPipelineConfig],
) -> list[str]:
    """Returns the options of `tfod train` that differ, such as "--steps was 300, now 400"."""
    before, now = (_options(*run) for run in (old, new))
    changed = [name for name in before if before[name] != now[name]]
    if "--batch-size" in changed and "--learning-rate" in changed:
        changed.remove("--learning-rate")  # is scaled with the batch size
    differences = [
        f"{name} was {_shown(before[name])}, now {_shown(now[name])}" for name in changed
    ]
    if not differences and old[1] != new[1]:
        (field, *_) = changed_fields(old[1], new[1])
        option = "--pipeline"
        if "input_reader" in field or field.endswith("num_classes"):
            option = "--data"
        elif "image_resizer" in field:
            option = "--pipeline or --input-size"
        differences = [f"{option} has changed, in {field}"]
    return differences


def _options(settings: RunSettings, pipeline: TrainEvalPipelineConfig) -> dict[str, Any]:
    """Returns the values of a run by the options that set them."""
    config = pipeline.train_config
    return {
        "--data": pipeline.train_input_reader.label_map_path.rpartition("/")[0],
        "--init": config.fine_tune_checkpoint or "scratch",
        "--init-type": config.fine_tune_checkpoint_type,
        "--steps": config.num_steps,
        "--batch-size": config.batch_size,
        "--learning-rate": getattr(learning_rate_schedule(config), "learning_rate_base", None),
    } | {
        f"--{field.name.replace('_', '-')}": getattr(settings, field.name)
        for field in fields(settings)
        if field.name != "detection_sizes"  # has no option: --pipeline auto sets it
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value in (None, ""):
        return "set" if value else "not set"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def changed_fields(old: Message, new: Message) -> Iterator[str]:
    """Yields the names of the fields that differ, such as `model.ssd.num_classes`."""
    before, now = (
        {field.name: value for field, value in message.ListFields()} for message in (old, new)
    )
    for name in before | now:
        if name in before and name in now and isinstance(before[name], Message):
            yield from (f"{name}.{inner}" for inner in changed_fields(before[name], now[name]))
        elif before.get(name) != now.get(name):
            yield name
