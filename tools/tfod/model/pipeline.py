"""Template + data set + options -> `TrainEvalPipelineConfig`, edited as a proto, never as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format

from tfod.errors import UserError
from tfod.files import replacing_file

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    from tfod.dataset.manifest import Dataset

CONFIG_NAME = "pipeline.config"
CHECKPOINT_TYPES = ("detection", "full", "classification")


@dataclass(frozen=True)
class Options:
    """What the command line overrides in a template; None keeps the template's value.

    Attributes:
      steps: optimizer steps; the learning-rate schedule ends with them.
      batch_size: pictures a step.
      learning_rate: peak of the schedule. None with another batch size than the template's scales
        the template's rate by the ratio (Goyal et al. 2017, linear scaling).
      init: checkpoint prefix to start from, None to start from scratch.
      init_type: `fine_tune_checkpoint_type` of the OD API; None for what the checkpoint holds.
    """

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    init: Path | None = None
    init_type: str | None = None


def read_pipeline(path: Path) -> TrainEvalPipelineConfig:
    """Reads a pipeline.config (OD API `config_util.get_configs_from_pipeline_file`, same proto).

    Raises:
      UserError: the file is not there or is not a pipeline.config.
    """
    from object_detection.protos import pipeline_pb2

    try:
        text = path.read_text(encoding="utf-8")
        return text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "is not text"
        raise UserError(path, f"cannot be read: {what}", "Name a pipeline.config file") from error
    except text_format.ParseError as error:
        raise UserError(
            path, f"is not a pipeline.config: {error}", "Correct the line it names"
        ) from error


def write_pipeline(pipeline: TrainEvalPipelineConfig, path: Path) -> None:
    """Writes the config as text.

    Raises:
      UserError: the file cannot be written.
    """
    with replacing_file(path) as partial:
        partial.write_text(text_format.MessageToString(pipeline), encoding="utf-8")


def configure(template: Path, data: Dataset, options: Options) -> TrainEvalPipelineConfig:
    """The template pointed at a data set, with the options put in.

    Raises:
      UserError: the template cannot be read, or an option does not fit it.
    """
    pipeline = read_pipeline(template)
    architecture(pipeline).num_classes = len(data.classes)
    _check_label_ids(data)
    for reader, split in ((pipeline.train_input_reader, "train"), (_eval_reader(pipeline), "val")):
        reader.label_map_path = str(data.label_map.resolve())
        shards = data.splits[split].shards if split in data.splits else ()
        reader.tf_record_input_reader.input_path[:] = [str(shard.resolve()) for shard in shards]
        if split in data.splits:  # beyond its maximum the OD API drops boxes without a word
            most = data.splits[split].most_objects
            reader.max_number_of_boxes = max(reader.max_number_of_boxes, most)
    _override_training(pipeline.train_config, options, template)
    return pipeline


def architecture(pipeline: TrainEvalPipelineConfig):
    """The `ssd` or `faster_rcnn` (or other) message inside `model`."""
    return getattr(pipeline.model, pipeline.model.WhichOneof("model"))


def set_input_size(pipeline: TrainEvalPipelineConfig, size: int) -> None:
    """Lets pictures be resized to a square of `size` pixels, or into one where they keep shape.

    Weights do not depend on it: what was trained on crops, which show objects larger, often finds
    more when the whole picture is larger too (Touvron et al., "Fixing the train-test resolution
    discrepancy", 2019).
    """
    resizer = architecture(pipeline).image_resizer
    chosen = getattr(resizer, resizer.WhichOneof("image_resizer_oneof"))
    for field in chosen.DESCRIPTOR.fields:
        if field.name in ("height", "width", "min_dimension", "max_dimension"):
            setattr(chosen, field.name, size)


def learning_rate_schedule(train_config):
    """The schedule message, such as `CosineDecayLearningRate`, of whichever optimizer is set."""
    optimizer = train_config.optimizer
    rate = getattr(optimizer, optimizer.WhichOneof("optimizer")).learning_rate
    return getattr(rate, rate.WhichOneof("learning_rate"))


def _eval_reader(pipeline: TrainEvalPipelineConfig):
    if not pipeline.eval_input_reader:
        pipeline.eval_input_reader.add(num_epochs=1)
    return pipeline.eval_input_reader[0]


def _check_label_ids(data: Dataset) -> None:
    # One output a class: the OD API maps id N to output N - 1, so a gap would point outside.
    if sorted(data.classes) != list(range(1, len(data.classes) + 1)):
        raise UserError(
            data.label_map, "its ids are not 1, 2, 3, … without a gap", "Number the classes from 1"
        )


def _override_training(train_config, options: Options, template: Path) -> None:
    for field, least in (("steps", 1), ("batch_size", 1), ("learning_rate", 0)):
        value = getattr(options, field)
        if value is not None and not value >= least:
            raise UserError(f"--{field.replace('_', '-')}", f"is {value}", f"Give {least} or more")
    schedule = learning_rate_schedule(train_config)
    rate = "learning_rate_base"
    if (options.steps or options.learning_rate or options.batch_size) and not hasattr(
        schedule, rate
    ):
        raise UserError(
            template,
            f"its schedule {schedule.DESCRIPTOR.name} is not one that options can change",
            "Use cosine_decay_learning_rate there, or edit the file and leave the options out",
        )
    if options.batch_size:
        ratio = options.batch_size / train_config.batch_size
        train_config.batch_size = options.batch_size
        schedule.learning_rate_base *= ratio
        schedule.warmup_learning_rate *= ratio
    if options.learning_rate is not None:
        schedule.learning_rate_base = options.learning_rate
        schedule.warmup_learning_rate = options.learning_rate / 10
    if options.steps:
        train_config.num_steps = schedule.total_steps = options.steps
        # A short run that warms up for long never learns at its full rate.
        schedule.warmup_steps = min(schedule.warmup_steps, options.steps // 10)
    train_config.ClearField("fine_tune_checkpoint")
    train_config.ClearField("fine_tune_checkpoint_type")
    if options.init is not None:
        train_config.fine_tune_checkpoint = str(options.init.resolve())
        train_config.fine_tune_checkpoint_type = options.init_type
    else:  # what is not restored has to learn
        train_config.ClearField("freeze_variables")
