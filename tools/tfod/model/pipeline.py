"""Makes a `TrainEvalPipelineConfig` from a template, a data set and options.

The configuration is edited as a proto, never as text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format

from tfod.errors import UserError
from tfod.files import replacing_file
from tfod.storage.mirror import copies_of_urls, urls_of_copies

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig
    from object_detection.protos.post_processing_pb2 import BatchNonMaxSuppression

    from tfod.dataset.manifest import Dataset

CONFIG_NAME = "pipeline.config"


@dataclass(frozen=True)
class Options:
    """Options of `tfod train` that override the template.

    None keeps the template's value, except for `init`.

    Attributes:
      input_size: pixels, see `set_input_size`.
      steps: number of optimizer steps; the learning-rate schedule ends with the last one.
      epochs: the same as a number of passes through the images of the train split, rounded up to a
        whole step.
      batch_size: images per step.
      learning_rate: peak of the schedule. If it is None and `batch_size` is set, the template's
        rate is scaled by the ratio of the batch sizes (linear scaling, Goyal et al. 2017), for Adam
        by its square root (Malladi et al. 2022).
      init: prefix of the checkpoint to start from; None to start from scratch.
      init_type: `fine_tune_checkpoint_type` of the OD API; None to detect it from the checkpoint.
    """

    input_size: int | None = None
    steps: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    init: Path | None = None
    init_type: str | None = None


def read_pipeline(path: Path) -> TrainEvalPipelineConfig:
    """Reads a pipeline.config file. URLs of object stores become the paths of their local copies.

    Source: `object_detection.utils.config_util.get_configs_from_pipeline_file`, same proto.

    Raises:
      UserError: the file does not exist, is not a pipeline.config, or contains no model.
    """
    from object_detection.protos import pipeline_pb2

    try:
        text = copies_of_urls(path.read_text(encoding="utf-8"))
        pipeline = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(path, f"cannot be read: {reason}", "Give a pipeline.config file") from error
    except text_format.ParseError as error:
        raise UserError(
            path, f"is not a valid pipeline.config: {error}", "Correct that line"
        ) from error
    if pipeline.model.WhichOneof("model") is None:
        raise UserError(path, "contains no model", "Give a complete pipeline.config")
    return pipeline


def write_pipeline(pipeline: TrainEvalPipelineConfig, path: Path) -> None:
    """Writes the configuration as text. It names local copies by their URLs.

    So a run can be resumed on another machine, whose copies are in another folder.

    Raises:
      UserError: the file cannot be written.
    """
    text = urls_of_copies(text_format.MessageToString(pipeline, as_utf8=True))
    with replacing_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def configure(template: Path, data: Dataset, options: Options) -> TrainEvalPipelineConfig:
    """Returns the template's configuration with the paths of a data set and the options.

    Args:
      template: a pipeline.config file.

    Raises:
      UserError: the template cannot be read, or an option does not fit it.
    """
    pipeline = read_pipeline(template)
    override(pipeline, data, options, template)
    return pipeline


def override(
    pipeline: TrainEvalPipelineConfig, data: Dataset, options: Options, template: Path
) -> None:
    """Sets the paths of a data set and the options.

    Args:
      template: where the pipeline comes from, for messages.

    Raises:
      UserError: an option does not fit the pipeline.
    """
    configure_data(pipeline, data)
    if options.input_size:
        set_input_size(pipeline, options.input_size)
    images = data.splits["train"].images if "train" in data.splits else 0
    _override_training(pipeline.train_config, options, images, template)


def configure_data(pipeline: TrainEvalPipelineConfig, data: Dataset) -> None:
    """Sets the number of classes and the paths of a data set.

    Raises:
      UserError: the ids of the label map have gaps.
    """
    architecture(pipeline).num_classes = len(data.classes)
    _check_label_ids(data)
    for reader, split in ((pipeline.train_input_reader, "train"), (_eval_reader(pipeline), "val")):
        reader.label_map_path = str(data.label_map.resolve())
        shards = data.splits[split].shards if split in data.splits else ()
        reader.tf_record_input_reader.input_path[:] = [str(shard.resolve()) for shard in shards]
        if split in data.splits:
            # The OD API silently drops the boxes of an image beyond this number.
            most_objects = data.splits[split].most_objects
            reader.max_number_of_boxes = max(reader.max_number_of_boxes, most_objects)


def architecture(pipeline: TrainEvalPipelineConfig):
    """Returns the message inside `model`: `ssd`, `faster_rcnn` or another."""
    return getattr(pipeline.model, pipeline.model.WhichOneof("model"))


def set_input_size(pipeline: TrainEvalPipelineConfig, size: int) -> None:
    """Sets the input size to a square of `size` pixels, with or without keeping the aspect ratio.

    The weights do not depend on the input size. Training crops enlarge objects, so a larger size at
    inference often detects more (Touvron et al., "Fixing the train-test resolution discrepancy",
    2019).
    """
    resizer = architecture(pipeline).image_resizer
    chosen = getattr(resizer, resizer.WhichOneof("image_resizer_oneof"))
    for field in chosen.DESCRIPTOR.fields:
        if field.name in ("height", "width", "min_dimension", "max_dimension"):
            setattr(chosen, field.name, size)


def suppression(pipeline: TrainEvalPipelineConfig) -> BatchNonMaxSuppression | None:
    """Returns the settings of the non-maximum suppression that selects the detections.

    It is a part of the configuration, not a copy. None for CenterNet, which needs none.
    """
    model = architecture(pipeline)
    if hasattr(model, "second_stage_post_processing"):
        return model.second_stage_post_processing.batch_non_max_suppression
    if model.HasField("post_processing"):
        return model.post_processing.batch_non_max_suppression
    return None


def max_detections(pipeline: TrainEvalPipelineConfig) -> int:
    """Returns the maximum number of detections per image."""
    settings = suppression(pipeline)
    if settings is None:
        return architecture(pipeline).object_center_params.max_box_predictions
    return settings.max_total_detections


def learning_rate_schedule(train_config):
    """Returns the optimizer's schedule message, such as `CosineDecayLearningRate`.

    None if there is no optimizer, or no schedule.
    """
    optimizer = train_config.optimizer
    if (kind := optimizer.WhichOneof("optimizer")) is None:
        return None
    rate = getattr(optimizer, kind).learning_rate
    if (kind := rate.WhichOneof("learning_rate")) is None:
        return None
    return getattr(rate, kind)


def set_steps(train_config, steps: int) -> None:
    """Sets the number of steps of a run with a cosine schedule, which then ends at zero."""
    schedule = learning_rate_schedule(train_config)
    train_config.num_steps = schedule.total_steps = steps
    # A long warm-up would leave a short run no time at the full rate.
    schedule.warmup_steps = min(schedule.warmup_steps, steps // 10)


def _eval_reader(pipeline: TrainEvalPipelineConfig):
    if not pipeline.eval_input_reader:
        pipeline.eval_input_reader.add(num_epochs=1)
    return pipeline.eval_input_reader[0]


def _check_label_ids(data: Dataset) -> None:
    # The model has one output per class, and the OD API uses output N - 1 for id N.
    if sorted(data.classes) != list(range(1, len(data.classes) + 1)):
        raise UserError(
            data.label_map, "its ids are not 1, 2, 3, … without gaps", "Number the classes from 1"
        )


def _steps(options: Options, images: int, batch_size: int) -> int | None:
    if options.epochs is None:
        return options.steps
    if options.steps is not None:
        raise UserError("--epochs", "cannot be combined with --steps", "Give one of the two")
    return max(1, math.ceil(options.epochs * images / batch_size))


def _override_training(train_config, options: Options, images: int, template: Path) -> None:
    for option, value in (("--steps", options.steps), ("--batch-size", options.batch_size)):
        if value is not None and value < 1:
            raise UserError(option, f"is {value}", "Give 1 or more")
    rate = options.learning_rate
    for option, number in (("--learning-rate", rate), ("--epochs", options.epochs)):
        if number is not None and not 0 < number < math.inf:  # also true for NaN
            raise UserError(option, f"is {number}", "Give a number above 0")
    steps = _steps(options, images, options.batch_size or train_config.batch_size)
    schedule = learning_rate_schedule(train_config)
    if schedule is None:
        what = "contains no optimizer with a learning rate"
        raise UserError(template, what, "Give a complete pipeline.config")
    overrides = any(value is not None for value in (steps, options.batch_size, rate))
    if overrides and not hasattr(schedule, "learning_rate_base"):
        raise UserError(
            template,
            f"its schedule {schedule.DESCRIPTOR.name} cannot be changed by options",
            "Use cosine_decay_learning_rate, or edit the file and leave out --steps, --epochs, "
            "--batch-size and --learning-rate",
        )
    if options.batch_size:
        ratio = options.batch_size / train_config.batch_size
        if train_config.optimizer.WhichOneof("optimizer") == "adam_optimizer":
            ratio = math.sqrt(ratio)
        train_config.batch_size = options.batch_size
        schedule.learning_rate_base *= ratio
        schedule.warmup_learning_rate *= ratio
    if rate is not None:
        schedule.learning_rate_base = rate
        schedule.warmup_learning_rate = rate / 10
    if steps is not None:
        set_steps(train_config, steps)
    train_config.ClearField("fine_tune_checkpoint")
    train_config.ClearField("fine_tune_checkpoint_type")
    if options.init is not None:
        train_config.fine_tune_checkpoint = str(options.init.resolve())
        train_config.fine_tune_checkpoint_type = options.init_type
    else:  # layers that are not restored must be trained
        train_config.ClearField("freeze_variables")
