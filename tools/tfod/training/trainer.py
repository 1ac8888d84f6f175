"""The training loop around the OD API's model, inputs, losses and optimizer."""

from __future__ import annotations

import dataclasses
import errno
import logging
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.detections import detections_from_outputs
from tfod.errors import UserError
from tfod.evaluation.metrics import Metrics, evaluate
from tfod.files import replacing_folder
from tfod.images import load_rgb
from tfod.model import pipeline as pipelines
from tfod.model.checkpoint import checkpoint_type, find_checkpoint
from tfod.model.run_folder import RunFolder
from tfod.model.templates import find_template
from tfod.training import precision
from tfod.training import strategy as strategies
from tfod.training.events import Evaluation, Step, WorkerLostError
from tfod.training.input import training_batches, validation_batches
from tfod.training.learner import Learner
from tfod.training.run_log import IMAGES_SHOWN, RunLog, SideBySide
from tfod.training.settings import RunSettings, read_settings, write_settings

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

log = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
EVALUATIONS = 10  # in a run, unless another interval is asked for
# Losses beyond this grew for a while already, and no learning rate brings them back.
EXPLODED = 1e6


def train(
    data: Dataset,
    template: str,
    output: Path,
    options: pipelines.Options | None = None,
    settings: RunSettings | None = None,
    overwrite: bool = False,
    on_step: Callable[[Step], None] = lambda step: None,
    on_evaluation: Callable[[Evaluation], None] = lambda evaluation: None,
    on_note: Callable[[str], None] = lambda note: None,
    strategy: str = strategies.AUTO,
) -> Path:
    """Trains a detector into a run folder, or goes on with the run that lies there.

    The folder holds pipeline.config and run.json (the run as configured), label_map.pbtxt,
    checkpoints in the OD API's format (`ckpt-N` after N checkpoints, `step`, `model` and
    `optimizer` inside), the best one by AP on the val split in best/ (of the averaged weights,
    where they are averaged), TensorBoard logs in train/ and val/, metrics.csv and training.png.
    A run that was killed goes on from its newest checkpoint as if nothing had been.

    Of several workers each calls this with the same arguments and a `TF_CONFIG` of its own; the
    first writes the run folder, which all of them have to see.

    Args:
      data: a converted data set.
      template: a template's name or a pipeline.config file.
      output: the run folder. An unfinished run there is resumed if it has the same configuration.
      options: overrides of the template.
      settings: seed and checkpointing.
      overwrite: start anew, replacing a run that lies in `output`.
      on_step: called after each step.
      on_evaluation: called after each evaluation.
      on_note: called with what is to be known: a GPU that is not used.
      strategy: where to compute, of `strategy.STRATEGIES`. A run may go on with another.

    Returns:
      The prefix of the best checkpoint; of the newest where there is no val split.

    Raises:
      UserError: an argument, the template, the initial checkpoint or the run folder is unusable;
        the loss exploded; the batch does not fit the memory; or the disk is full.
      WorkerLostError: another worker is gone.
    """
    import tensorflow as tf

    placed = strategies.make_strategy(strategy)  # before anything else of TensorFlow
    if strategies.gpu_left_out():
        on_note(
            "the processor trains, for TensorFlow cannot use this machine's GPU. tools/setup.sh "
            "brings the libraries it wants, and so does: pip install 'tensorflow[and-cuda]'"
        )
    options, settings = options or pipelines.Options(), settings or RunSettings()
    if options.init is not None:
        prefix = find_checkpoint(options.init)
        kind = checkpoint_type(prefix) if options.init_type is None else options.init_type
        options = dataclasses.replace(options, init=prefix, init_type=kind)
    pipeline = pipelines.configure(find_template(template), data, options)
    if "train" not in data.splits:
        raise UserError(data.folder, "has no train split", "Convert it with a train fraction")
    if not data.splits["train"].objects:
        raise UserError(data.folder, "has no object in its train split", "Draw some boxes")
    replicas, batch = placed.num_replicas_in_sync, pipeline.train_config.batch_size
    if batch % replicas:
        raise UserError(
            "--batch-size", f"is {batch}, for {replicas} devices", "Give a multiple of that"
        )
    resume = output.exists() and not overwrite
    if resume:
        _check_same_run(output, pipeline, settings)
    strategies.wait_for_all(placed)  # before one of them writes what the others look for
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    arithmetic = precision.chosen(settings.precision)
    learner = Learner(pipeline, settings.seed, resume, arithmetic, placed)
    if strategies.is_chief(placed):
        if not resume:
            _write_run_folder(output, pipeline, settings, data.label_map)
        return _Run(output, output, pipeline, settings, data, learner).run(on_step, on_evaluation)
    # Saving is done by all together, but only the first one's is kept.
    with tempfile.TemporaryDirectory() as own:
        _Run(Path(own), output, pipeline, settings, data, learner).run(on_step, on_evaluation)
    return RunFolder(output).checkpoint()


def _check_same_run(output: Path, pipeline: TrainEvalPipelineConfig, settings: RunSettings) -> None:
    run = RunFolder(output)
    if read_settings(run) != settings or pipeline != pipelines.read_pipeline(run.config):
        raise UserError(
            output,
            "holds a run with other settings",
            "Repeat its command to resume it, choose another --output, or replace it with "
            "--overwrite",
        )


def _write_run_folder(
    output: Path, pipeline: TrainEvalPipelineConfig, settings: RunSettings, label_map: Path
) -> None:
    with replacing_folder(output) as partial_output:
        run = RunFolder(partial_output)
        pipelines.write_pipeline(pipeline, run.config)
        write_settings(run, settings)
        shutil.copyfile(label_map, run.label_map)


class _Run:
    """A run folder, and the learner that goes on from it.

    Args:
      folder: to write into.
      resumed: to read the newest checkpoint of.
    """

    def __init__(
        self,
        folder: Path,
        resumed: Path,
        pipeline: TrainEvalPipelineConfig,
        settings: RunSettings,
        data: Dataset,
        learner: Learner,
    ) -> None:
        import tensorflow as tf

        self.folder, self.pipeline, self.settings = folder, pipeline, settings
        self.data, self.learner = data, learner
        self.last = pipeline.train_config.num_steps
        self.eval_every = settings.eval_every or math.ceil(self.last / EVALUATIONS)
        # Of the evaluations: the best AP, and how many there were since.
        self.best_ap = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
        self.stale = tf.Variable(0, trainable=False, dtype=tf.int64)
        checkpoint = learner.checkpoint()
        checkpoint.best_ap, checkpoint.stale = self.best_ap, self.stale
        self.manager = tf.train.CheckpointManager(
            checkpoint, str(folder), max_to_keep=settings.keep
        )
        self.best = tf.train.CheckpointManager(
            tf.train.Checkpoint(step=learner.step, model=learner.model),
            str(RunFolder(folder).best),
            max_to_keep=1,
        )
        if latest := RunFolder(resumed).newest_checkpoint():
            checkpoint.restore(str(latest)).assert_consumed()
            log.info("resuming %s after step %d", resumed, learner.steps_done)
        # Made before anything is traced: the model keeps the anchors of its last trace.
        batches = partial(
            training_batches,
            *(pipeline, learner.model, settings.seed, learner.steps_done, settings.balance),
        )
        if learner.strategy.num_replicas_in_sync > 1:
            self.batches = learner.strategy.distribute_datasets_from_function(batches)
        else:
            self.batches = batches()
        if "val" in data.splits:
            self.val_batches = validation_batches(pipeline, learner.model)

    def run(
        self, on_step: Callable[[Step], None], on_evaluation: Callable[[Evaluation], None]
    ) -> Path:
        import tensorflow as tf

        done = self.learner.steps_done
        with RunLog(self.folder, done) as run_log:
            try:
                self._steps(run_log, on_step, on_evaluation)
            except KeyboardInterrupt:
                if self.learner.steps_done > done and not strategies.workers(self.learner.strategy):
                    self._save(self.manager)
                raise
            except tf.errors.ResourceExhaustedError as error:
                # TensorFlow says it of full disks, too.
                if any(os.strerror(number) in error.message for number in DISK_FULL):
                    raise self._cannot_write(error.message.splitlines()[0]) from error
                batch = self.pipeline.train_config.batch_size
                raise UserError(
                    "--batch-size",
                    f"is {batch}, and so many pictures do not fit the memory at a time",
                    "Give a smaller one, or take a smaller model",
                ) from error
            except tf.errors.OpError as error:
                if strategies.workers(self.learner.strategy):
                    raise WorkerLostError(self.learner.steps_done > done) from error
                raise
            except OSError as error:
                raise self._cannot_write(error.strerror or str(error)) from error
            run_log.draw()
        return Path(self.best.latest_checkpoint or self.manager.latest_checkpoint)

    def _steps(
        self,
        run_log: RunLog,
        on_step: Callable[[Step], None],
        on_evaluation: Callable[[Evaluation], None],
    ) -> None:
        step = self.learner.steps_done
        if step and self._is_due(step) and not run_log.has_evaluation(step):
            # Ctrl-C came between the step and its evaluation.
            on_evaluation(self._evaluate(run_log))
            self._save(self.manager)
        before = time.perf_counter()
        for features, labels in self.batches:
            if self._is_stale():
                return
            rate = float(self.learner.learning_rate())
            losses = {
                name: float(loss) for name, loss in self.learner.train(features, labels).items()
            }
            now = time.perf_counter()
            speed = self.pipeline.train_config.batch_size / (now - before)
            step = Step(self.learner.steps_done, self.last, losses, rate, speed)
            self._check(step)
            run_log.write_step(step)
            on_step(step)
            is_last = step.number == self.last
            if self._is_due(step.number):
                evaluation = self._evaluate(run_log)
                on_evaluation(evaluation)
                is_last = is_last or self._is_stale()
            if step.number % self.settings.checkpoint_every == 0 or is_last:
                run_log.flush()
                self._save(self.manager)
            before = time.perf_counter()

    def _is_due(self, step: int) -> bool:
        """Whether an evaluation follows this step."""
        return "val" in self.data.splits and (step % self.eval_every == 0 or step == self.last)

    def _save(self, manager: tf.train.CheckpointManager, number: int | None = None) -> None:
        import tensorflow as tf

        try:
            manager.save(checkpoint_number=number)
        except tf.errors.OpError as error:
            raise self._cannot_write(error.message.splitlines()[0]) from error

    def _cannot_write(self, reason: str) -> UserError:
        remedy = "Make room or give permission, and repeat the command: it goes on from there"
        return UserError(self.folder, f"cannot be written: {reason}", remedy)

    def _is_stale(self) -> bool:
        return self.settings.patience is not None and int(self.stale) >= self.settings.patience

    def _check(self, step: Step) -> None:
        if not step.total_loss < EXPLODED:  # NaN is not less
            kept = self.manager.latest_checkpoint
            rate = step.learning_rate
            raise UserError(
                self.folder,
                f"the loss of step {step.number} is {step.total_loss:g}",
                f"Train anew with a --learning-rate below {rate:g}"
                + (f"; {kept} is from before" if kept else ""),
            )

    def _evaluate(self, run_log: RunLog) -> Evaluation:
        """Judges the model on the val split, and keeps it where it is the best so far."""
        with self.learner.averaged():
            metrics, losses, examples = self._evaluate_split()
            ap = metrics.coco["AP"] or 0.0
            best = ap > float(self.best_ap)
            if best:
                self.best_ap.assign(ap)
                self.stale.assign(0)
                self._save(self.best, self.learner.steps_done)
                metrics.write(RunFolder(self.folder).best_metrics)
            else:
                self.stale.assign_add(1)
        evaluation = Evaluation(self.learner.steps_done, losses, metrics.coco, best)
        run_log.write_evaluation(evaluation, examples)
        return evaluation

    def _evaluate_split(self) -> tuple[Metrics, dict[str, float], list[SideBySide]]:
        """Metrics, mean losses, and the first pictures with what was to be found and what was."""
        records = read_records(self.data.splits["val"].shards)
        truths, found, examples = [], [], []
        sums: Counter[str] = Counter()
        batches = 0
        for features, labels in self.val_batches:
            batches += 1
            losses, outputs = self.learner.evaluate(features, labels)
            sums.update({name: float(loss) for name, loss in losses.items()})
            # The last batch is filled up with the first pictures. Records come last: zip takes one
            # from each in turn, and must find the batch at its end first.
            for *output, record in zip(*outputs, records, strict=False):
                detections = detections_from_outputs(*output, self.data.classes)
                truths.append(record.annotation)
                found.append(detections)
                if len(examples) < IMAGES_SHOWN:
                    pixels = load_rgb(record.image.data)
                    examples.append(SideBySide(pixels, record.annotation, detections))
        metrics, _ = evaluate(truths, found, self.data.classes.values())
        return metrics, {name: total / batches for name, total in sums.items()}, examples
