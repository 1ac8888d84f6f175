"""The training loop around the OD API's model, inputs, losses and optimizer."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfod import pipeline as pipelines
from tfod.checkpoint import (
    build_variables,
    checkpoint_type,
    find_checkpoint,
    restore_fine_tune_checkpoint,
)
from tfod.dataset import LABEL_MAP, Dataset
from tfod.errors import UserError
from tfod.files import replacing_folder

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

log = logging.getLogger(__name__)

RUN_FILE = "run.json"
SCALARS = "train"
TOTAL_LOSS = "Loss/total_loss"


@dataclass(frozen=True)
class RunSettings:
    """What a run needs besides its pipeline.config to be repeated or resumed.

    Attributes:
      seed: of weights, input order and augmentation.
      checkpoint_every: steps between checkpoints; the last step is always saved.
      keep: how many of the newest checkpoints stay.
    """

    seed: int = 0
    checkpoint_every: int = 100
    keep: int = 3


@dataclass(frozen=True)
class Step:
    """One training step as shown while it runs.

    Attributes:
      number: 1 for the first.
      of: the last.
      losses: by OD API name, such as `Loss/localization_loss`; empty where not fetched.
      learning_rate: the rate this step used.
    """

    number: int
    of: int
    losses: dict[str, float]
    learning_rate: float

    @property
    def total_loss(self) -> float:
        return self.losses[TOTAL_LOSS]


def train(
    data: Dataset,
    template: str,
    output: Path,
    options: pipelines.Options | None = None,
    settings: RunSettings | None = None,
    overwrite: bool = False,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Path:
    """Trains a detector into a run folder, or goes on with the run that lies there.

    The folder holds pipeline.config and run.json (the run as configured), label_map.pbtxt,
    checkpoints in the OD API's format (`ckpt-N` after N checkpoints, `step`, `model` and
    `optimizer` inside) and TensorBoard scalars in train/.

    Args:
      data: a converted data set.
      template: a template's name or a pipeline.config file.
      output: the run folder. An unfinished run there is resumed if it has the same configuration.
      options: overrides of the template.
      settings: seed and checkpointing.
      overwrite: start anew, replacing a run that lies in `output`.
      on_step: called after each step, with step 0 skipped.

    Returns:
      The prefix of the last checkpoint.

    Raises:
      UserError: an argument, the template, the initial checkpoint or the run folder is unusable.
    """
    options, settings = options or pipelines.Options(), settings or RunSettings()
    if options.init is not None:
        prefix = find_checkpoint(options.init)
        kind = checkpoint_type(prefix) if options.init_type is None else options.init_type
        options = dataclasses.replace(options, init=prefix, init_type=kind)
    pipeline = pipelines.configure(pipelines.find_template(template), data, options)
    if "train" not in data.splits:
        raise UserError(data.folder, "has no train split", "Convert it with a train fraction")
    resume = output.exists() and not overwrite
    if resume:
        _check_same_run(output, pipeline, settings)
    trainer = _Trainer(pipeline, settings.seed)
    if not resume:
        trainer.start_from_checkpoint()
        _write_run_folder(output, pipeline, settings, data.label_map)
    return trainer.run(output, settings, on_step)


def read_settings(run: Path) -> RunSettings:
    """The settings a run was started with.

    Raises:
      UserError: `run` is not a run folder.
    """
    try:
        return RunSettings(**json.loads((run / RUN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            run, "is not a run folder", "Name a folder that `tfod train --output` wrote"
        ) from error


def _check_same_run(output: Path, pipeline: TrainEvalPipelineConfig, settings: RunSettings) -> None:
    if read_settings(output) != settings or pipeline != pipelines.read_pipeline(
        output / pipelines.CONFIG_NAME
    ):
        raise UserError(
            output,
            "holds a run with other settings",
            "Repeat its command to resume it, choose another --output, or replace it with "
            "--overwrite",
        )


def _write_run_folder(
    output: Path, pipeline: TrainEvalPipelineConfig, settings: RunSettings, label_map: Path
) -> None:
    with replacing_folder(output) as folder:
        pipelines.write_pipeline(pipeline, folder / pipelines.CONFIG_NAME)
        (folder / RUN_FILE).write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
        shutil.copyfile(label_map, folder / LABEL_MAP)


class _Trainer:
    """Model, optimizer and step counter of one run: what a checkpoint holds."""

    def __init__(self, pipeline: TrainEvalPipelineConfig, seed: int) -> None:
        import tensorflow as tf
        from object_detection.builders import model_builder, optimizer_builder

        tf.keras.utils.set_random_seed(seed)
        self.pipeline = pipeline
        self.config = pipeline.train_config
        self.model = model_builder.build(pipeline.model, is_training=True, add_summaries=False)
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step")
        self.optimizer, (self.learning_rate,) = optimizer_builder.build(
            self.config.optimizer, global_step=self.step
        )
        build_variables(self.model)

    def start_from_checkpoint(self) -> None:
        if self.config.fine_tune_checkpoint:
            restore_fine_tune_checkpoint(
                self.model,
                Path(self.config.fine_tune_checkpoint),
                self.config.fine_tune_checkpoint_type,
            )

    def run(self, output: Path, settings: RunSettings, on_step: Callable[[Step], None]) -> Path:
        import tensorflow as tf

        manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(step=self.step, model=self.model, optimizer=self.optimizer),
            str(output),
            max_to_keep=settings.keep,
        )
        if manager.latest_checkpoint:
            # Momentum is made at the first step; make it now, so that it is restored now.
            self.optimizer._create_all_weights(self.model.trainable_variables)
            manager.checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
            log.info("resuming %s after step %d", output, int(self.step))
        last = self.config.num_steps
        batches = self._batches()
        train_step = tf.function(self._train_step, autograph=False)
        writer = tf.summary.create_file_writer(str(output / SCALARS))
        try:
            while int(self.step) < last:
                rate = float(self.learning_rate())
                losses = train_step(*next(batches))
                step = Step(int(self.step), last, {k: float(v) for k, v in losses.items()}, rate)
                _write_scalars(writer, step)
                on_step(step)
                if step.number % settings.checkpoint_every == 0 or step.number == last:
                    writer.flush()
                    manager.save()
        except KeyboardInterrupt:
            writer.flush()
            if int(self.step):
                manager.save()
            raise
        return Path(manager.latest_checkpoint)

    def _batches(self) -> Iterator[tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]]:
        import tensorflow as tf
        from object_detection import inputs

        dataset = inputs.train_input(
            self.config, self.pipeline.train_input_reader, self.pipeline.model, model=self.model
        )
        return iter(dataset.prefetch(tf.data.AUTOTUNE))

    def _train_step(self, features, labels) -> dict[str, tf.Tensor]:
        from object_detection import model_lib_v2

        losses = model_lib_v2.eager_train_step(
            self.model,
            features,
            labels,
            self.config.unpad_groundtruth_tensors,
            self.optimizer,
            training_step=self.step,
            add_regularization_loss=self.config.add_regularization_loss,
            clip_gradients_value=self.config.gradient_clipping_by_norm or None,
        )
        self.step.assign_add(1)
        return losses


def _write_scalars(writer, step: Step) -> None:
    import tensorflow as tf

    with writer.as_default(step=step.number):
        for name, value in step.losses.items():
            tf.summary.scalar(name, value)
        tf.summary.scalar("learning_rate", step.learning_rate)
