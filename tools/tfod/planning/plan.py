"""Makes a plan: a complete pipeline.config, the settings of the run, and the reasons."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from tfod.dataset.manifest import Dataset
from tfod.errors import UserError
from tfod.model.pipeline import (
    architecture,
    read_pipeline,
    set_input_size,
    set_steps,
)
from tfod.model.templates import find_template
from tfod.planning import rules
from tfod.planning.facts import MachineFacts, data_facts, machine_facts
from tfod.planning.rules import Choice, Wishes
from tfod.text import printable
from tfod.training.choices import TIGHT
from tfod.training.settings import RunSettings

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    from tfod.model.earlier_detector import EarlierDetector

# Of Adam, at this batch size. It is scaled with the square root, as in `pipeline.Options`.
LEARNING_RATE, REFERENCE_BATCH = 0.001, 16
WARM_UP_STEPS = 100
# The averaged weights remember this fraction of the run.
AVERAGED_PART = 0.2
NOT_CROPPED = 0.3  # of the images


@dataclass(frozen=True)
class Plan:
    """What `tfod train --pipeline auto` trains.

    Attributes:
      template: name of the template that the pipeline comes from, for its zoo checkpoint.
      pipeline: complete, but for the paths and the number of steps.
      settings: of the run.
      choices: the decisions and their reasons.
    """

    template: str
    pipeline: TrainEvalPipelineConfig
    settings: RunSettings
    choices: tuple[Choice, ...]


def make_plan(
    data: Dataset,
    wishes: Wishes,
    machine: MachineFacts | None = None,
    earlier: EarlierDetector | None = None,
) -> Plan:
    """Chooses how to train a detector of a data set.

    Args:
      machine: None for this one.
      earlier: the detector to start from, whose model is then kept.

    Raises:
      UserError: the data set has no objects to train on, or several machines would train.
    """
    if os.environ.get("TF_CONFIG"):  # the other machines may be slower, or have less memory
        what = "auto does not work with several machines, and TF_CONFIG is set"
        raise UserError("--pipeline", what, "Give a template, or the pipeline.config of a run")
    facts = data_facts(data)
    machine = machine or machine_facts()
    phone = read_pipeline(find_template(rules.PHONE_TEMPLATE))
    if earlier is None:
        template, model = rules.choose_template(machine, wishes)
        pipeline = read_pipeline(find_template(template))
    else:
        template, model = "", rules.keep_model(earlier.folder)
        pipeline = deepcopy(earlier.pipeline)
    if _extractor(pipeline) != _extractor(phone):  # too large to train here: taken as tuned
        return Plan(template, pipeline, RunSettings(minutes=wishes.minutes), (model,))
    if earlier is None:
        size, training_size = rules.choose_size(facts, machine, wishes)
        anchors = rules.choose_anchors(pipeline, facts, size)
    else:
        size, training_size = rules.keep_size(pipeline, wishes)
        anchors = rules.keep_anchors()
    set_input_size(pipeline, size)
    first_size, first_steps = rules.choose_first_size(size)
    balance, balancing = rules.choose_balance(facts)
    flip, flipping = rules.choose_flip(facts)
    suppression = rules.choose_suppression(pipeline, facts)
    most = rules.MOST_EPOCHS * facts.images
    likely = min(most, rules.images_in_time(machine, wishes, size))
    pipeline.train_config.batch_size, batch_size = rules.choose_batch_size(machine, size, likely)
    _configure_training(pipeline, flip, most, likely)
    settings = RunSettings(
        minutes=wishes.minutes,
        balance=balance,
        losses=TIGHT,
        detection_sizes=True,
        first_input_size=first_size,
    )
    return Plan(
        template,
        pipeline,
        settings,
        (
            *(model, training_size, first_steps, batch_size, anchors, balancing, flipping),
            suppression,
            *_fixed(wishes),
        ),
    )


def _extractor(pipeline: TrainEvalPipelineConfig) -> str:
    return architecture(pipeline).feature_extractor.type


def _fixed(wishes: Wishes) -> tuple[Choice, ...]:
    """Returns the decisions that do not depend on the data set."""
    return (
        Choice(
            "losses",
            "GIoU and quality focal loss",
            "they gave a higher AP than those of the template, see pipelines/README.md",
            "--losses template",
        ),
        Choice(
            "trained layers",
            "all",
            "with the first ones frozen, steps are faster, but the AP was lower, see "
            "pipelines/README.md",
            "your own config with freeze_variables",
        ),
        Choice(
            "optimizer",
            f"Adam with averaged weights, learning rate {LEARNING_RATE:g} for {REFERENCE_BATCH} "
            "images per step, scaled with the square root of their number",
            "the recipe for small signs in pipelines/README.md does the same",
            "--learning-rate",
        ),
        Choice(
            "steps",
            f"as many as fit in {wishes.minutes:g} minutes, at most {rules.MOST_EPOCHS} epochs",
            "the speed is measured during the training",
            "--minutes or --steps",
        ),
    )


def _configure_training(
    pipeline: TrainEvalPipelineConfig, flip: bool, most: float, likely: float
) -> None:
    """Sets optimizer, schedule, augmentation and initializers.

    Args:
      most, likely: numbers of images that the run processes.
    """
    config = pipeline.train_config
    optimizer = config.optimizer
    optimizer.Clear()
    schedule = optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    schedule.learning_rate_base = LEARNING_RATE * math.sqrt(config.batch_size / REFERENCE_BATCH)
    schedule.warmup_learning_rate = schedule.learning_rate_base / 10
    schedule.warmup_steps = WARM_UP_STEPS
    set_steps(config, max(1, round(most / config.batch_size)))
    optimizer.use_moving_average = True
    averaged_steps = AVERAGED_PART * likely / config.batch_size
    optimizer.moving_average_decay = min(0.9998, max(0.9, 1 - 1 / max(1, averaged_steps)))
    config.ClearField("freeze_variables")
    kept = []
    for option in config.data_augmentation_options:
        step = option.WhichOneof("preprocessing_step")
        if step == "random_crop_image":
            option.random_crop_image.random_coef = NOT_CROPPED
        if flip or step != "random_horizontal_flip":
            kept.append(option)
    del config.data_augmentation_options[:]
    config.data_augmentation_options.extend(kept)
    # The heads are not in a backbone's checkpoint, and the zoo's initializer is made for
    # thousands of steps.
    for hyperparams in (
        architecture(pipeline).feature_extractor.conv_hyperparams,
        architecture(
            pipeline
        ).box_predictor.weight_shared_convolutional_box_predictor.conv_hyperparams,
    ):
        hyperparams.initializer.Clear()
        initializer = hyperparams.initializer.variance_scaling_initializer
        initializer.factor, initializer.mode = 1.0, initializer.FAN_AVG


def plan_text(plan: Plan, name: str, given: Mapping[str, str] = MappingProxyType({})) -> str:
    """Returns `plan.md`.

    Args:
      name: of the data set.
      given: options of the user that replace choices, by `Choice.what`, such as "--batch-size 8".
    """
    lines = [f"# Training plan for {printable(name)}", ""]
    for choice in plan.choices:
        if option := given.get(choice.what):
            lines += [f"- {choice.what}: {option}", "  - as you asked for"]
            continue
        lines += [
            f"- {choice.what}: {printable(choice.value)}",
            f"  - because {printable(choice.because)}",
            f"  - would change with {choice.otherwise}",
        ]
    return "\n".join(lines) + "\n"
