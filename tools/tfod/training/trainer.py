"""The training loop: steps, evaluations, checkpoints and logs."""

from __future__ import annotations

import errno
import logging
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.detections import detections_from_outputs
from tfod.errors import UserError
from tfod.evaluation.metrics import Metrics, evaluate
from tfod.files import locked
from tfod.images import load_rgb
from tfod.model import pipeline as pipelines
from tfod.model.anchors import input_size
from tfod.model.detection_file import write_detection
from tfod.model.run_folder import RunFolder
from tfod.model.templates import find_template
from tfod.progress import Progress, silent
from tfod.training import checks
from tfod.training import strategy as strategies
from tfod.training.detection_choice import FACTORS, choose_detection
from tfod.training.events import EVALUATION, Evaluation, Step, WorkerLostError, memory_error
from tfod.training.growing_input import is_first_part
from tfod.training.learner import Learner
from tfod.training.loss_scaling import MANY_SKIPPED, restore
from tfod.training.pace import EVALUATIONS, FIRST_FIT, Pace
from tfod.training.precision import FLOAT32, resolve_precision
from tfod.training.run_log import EXAMPLES, RunLog, ValidationExample
from tfod.training.settings import RunSettings
from tfod.training.start import (
    extend_run,
    note_kept_classes,
    resolve_checkpoint,
    write_run_folder,
)

if TYPE_CHECKING:
    import tensorflow as tf
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    from tfod.training.learner import Tensors

log = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# A loss above this has grown for many steps, and training does not recover from it.
MAX_LOSS = 1e6


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
    synchronize: Callable[[], None] = lambda: None,
    strategy: str = strategies.AUTO,
    plan: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Trains a detector into a run folder, or resumes the run in that folder.

    The folder contains pipeline.config and run.json (the configuration of the run),
    label_map.pbtxt, checkpoints in the OD API's format (`ckpt-N`, with `step`, `model` and
    `optimizer`), the checkpoint with the highest AP on the val split in best/ (with the averaged
    weights, if the config averages them), TensorBoard logs in train/ and val/, metrics.csv and
    training.png. A run that was killed resumes from its newest checkpoint with the same data order.

    With several workers, each calls this function with the same arguments and its own `TF_CONFIG`.
    The first worker writes the run folder, which all workers must be able to read.

    Args:
      data: a converted data set.
      template: name of a template, or path of a pipeline.config file.
      output: the run folder. An existing run resumes if it has the same configuration; `steps` or
        `epochs` may be larger than before. The learning rate is then that of a run which had this
        number of steps from its start. The `MACHINE_SETTINGS` may be others.
      options: overrides of the template.
      settings: seed, checkpoints and evaluation.
      overwrite: replaces an existing run instead of resuming it.
      on_step: called after each step.
      on_evaluation: called after each evaluation.
      on_note: called with a hint for the user, such as a GPU that is not used.
      synchronize: uploads what is new in the run folder, and downloads what others have uploaded.
        Called after each checkpoint. With several workers, which may have no common file system, it
        is also called at the start and at the end: by the others after the first one.
      strategy: one of `strategy.STRATEGIES`. A run can resume with another one.
      plan: text of `plan.md`, for a new run.
      progress: counts the images of each evaluation: of those during training as `EVALUATION`, and
        of those after it, with `detection_sizes`.

    Returns:
      The prefix of the best checkpoint, or of the newest if there is no val split.

    Raises:
      UserError: an argument, the template, the initial checkpoint or the run folder is not valid;
        another process trains in the run folder; a record is damaged; the loss exploded; the batch
        does not fit into memory, or the choice of the input size does not; or the disk is full.
      WorkerLostError: another worker has stopped.
    """
    import tensorflow as tf

    started = time.monotonic()
    distribution = strategies.make_strategy(strategy, on_note)  # before any other use of TensorFlow
    is_chief = strategies.is_chief(distribution)
    with strategies.lost_workers(distribution), ExitStack() as locks:
        strategies.first_then_others(distribution, synchronize)
        if strategies.has_unused_gpu():
            on_note(
                "training on the CPU: TensorFlow cannot use this machine's GPU. Install the CUDA "
                "libraries with tools/setup.sh or: pip install 'tensorflow[and-cuda]'"
            )
        options, settings = options or pipelines.Options(), settings or RunSettings()
        resume = checks.is_used(output) and not overwrite
        if not resume:
            checks.check_output(output, data, options)
        options = resolve_checkpoint(options, RunFolder(output) if resume else None)
        pipeline = pipelines.configure(find_template(template), data, options)
        checks.check_data(
            data,
            pipeline.train_config.batch_size,
            distribution.num_replicas_in_sync,
            settings.accumulate,
        )
        checks.check_choices(pipeline, settings)
        run = RunFolder(output)
        if settings.minutes is not None:
            checks.check_minutes(options, settings, pipeline, distribution)
            if resume:  # its first steps decided how many there are
                steps = pipelines.read_pipeline(run.config).train_config.num_steps
                pipelines.set_steps(pipeline.train_config, steps)
        steps = pipeline.train_config.num_steps
        more_steps = resume and checks.check_same_run(output, pipeline, settings, options) < steps
        if is_chief and run.settings.is_file():
            locks.enter_context(locked(run.settings, output))
        # No worker may write the folder before all have checked whether it exists.
        strategies.wait_for_workers(distribution)
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        precision = resolve_precision(settings.precision)
        learner = Learner(pipeline, settings, resume, precision, distribution)
        note_kept_classes(learner, data.classes.values(), on_note)
        if is_chief:
            if not resume:
                write_run_folder(output, pipeline, settings, data.label_map, overwrite, plan)
                locks.enter_context(locked(run.settings, output))
            folder = output
        else:  # saving a checkpoint needs all workers, but only the files of the first are kept
            folder = Path(locks.enter_context(tempfile.TemporaryDirectory()))
        training = _Run(folder, output, pipeline, settings, data, learner, started, progress)
        strategies.check_same_step(distribution, learner.steps_done, output)
        if more_steps:
            extend_run(run, pipeline, learner, on_note)
        on_saved = synchronize if is_chief else lambda: None
        checkpoint = training.run(on_step, on_evaluation, on_note, on_saved)
        strategies.first_then_others(distribution, synchronize)
        if not is_chief:
            return run.checkpoint()
        if settings.detection_sizes and "val" in data.splits and run.detection_size() is None:
            choose_detection(run, data, progress, training.later_sizes)
        return checkpoint


class _Run:
    """A run: restores the learner, trains it, and writes checkpoints and logs.

    Args:
      folder: the folder to write.
      resumed: the folder with the checkpoints to resume from. It differs from `folder` for workers
        other than the first.
      started: `time.monotonic()` at the start of the run.
    """

    def __init__(
        self,
        folder: Path,
        resumed: Path,
        pipeline: TrainEvalPipelineConfig,
        settings: RunSettings,
        data: Dataset,
        learner: Learner,
        started: float,
        progress: Progress,
    ) -> None:
        import tensorflow as tf

        self.progress, self.settings = progress, settings
        self.folder, self.resumed, self.data, self.learner = folder, resumed, data, learner
        self.pipeline, self.started = pipeline, started
        self.batch_size = pipeline.train_config.batch_size
        self.most_steps = pipeline.train_config.num_steps
        self.schedule = deepcopy(pipelines.learning_rate_schedule(pipeline.train_config))
        self.eval_every = self._choose_eval_every()
        self.later_sizes: Sequence[float] = FACTORS  # of `choose_detection`
        self.best_ap = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
        # The number of evaluations since the best one.
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
            restore(checkpoint, latest, learner.scales_losses)
            log.info("resuming %s after step %d", resumed, learner.steps_done)
        # Created before the model is traced: it keeps the anchors of its last trace.
        self.batches = self._batches_of_size()
        if "val" in data.splits:
            self.val_batches = learner.validation_batches()

    def run(
        self,
        on_step: Callable[[Step], None],
        on_evaluation: Callable[[Evaluation], None],
        on_note: Callable[[str], None],
        on_saved: Callable[[], None],
    ) -> Path:
        """Trains up to the last step.

        Returns:
          The prefix of the best checkpoint, or of the newest if there is no val split.
        """
        import tensorflow as tf

        done = self.learner.steps_done
        with RunLog(self.folder, done) as run_log:
            try:
                self._train(run_log, on_step, on_evaluation, on_note, on_saved)
            except KeyboardInterrupt:
                # Saving needs all workers, and the others may not be interrupted.
                alone = not strategies.worker_count(self.learner.strategy)
                if alone and self.learner.steps_done > done:
                    self._save(self.manager)
                raise
            except tf.errors.ResourceExhaustedError as error:
                # TensorFlow raises this for a full disk, too.
                if any(os.strerror(number) in error.message for number in DISK_FULL):
                    raise self._write_error(error.message.splitlines()[0]) from error
                resumes = RunFolder(self.resumed).newest_checkpoint() is not None
                replicas = self.learner.strategy.num_replicas_in_sync
                parts = self.settings.accumulate
                raise memory_error(self.batch_size, replicas, parts, resumes) from error
            except tf.errors.OpError as error:
                if self.learner.read_errors:
                    raise self.learner.read_errors[0] from error
                if strategies.is_lost_worker(error, self.learner.strategy):
                    raise WorkerLostError(self.learner.steps_done > done) from error
                raise
            except OSError as error:
                raise self._write_error(error.strerror or str(error)) from error
            if "val" not in self.data.splits:  # otherwise the last evaluation has drawn it
                run_log.draw()
        return Path(self.best.latest_checkpoint or self.manager.latest_checkpoint)

    def _train(
        self,
        run_log: RunLog,
        on_step: Callable[[Step], None],
        on_evaluation: Callable[[Evaluation], None],
        on_note: Callable[[str], None],
        on_saved: Callable[[], None],
    ) -> None:
        done = self.learner.steps_done
        if done and self._needs_evaluation(done):
            self._evaluate_if_missing(run_log, on_evaluation)
        # A resumed run keeps its number of steps: the time before the interruption is not known.
        pace = self._pace() if done < FIRST_FIT else None
        if done < self.last_step:  # the best checkpoint may change
            write_detection(RunFolder(self.folder).detection, self.data.tiles)
        before = time.perf_counter()
        for features, labels in self._all_batches(pace):
            if self._is_stale():
                return
            rate = float(self.learner.learning_rate())
            losses = {
                name: float(loss) for name, loss in self.learner.train(features, labels).items()
            }
            seconds = time.perf_counter() - before
            speed = self.batch_size / seconds
            if pace:
                pace.add_step(seconds)
                if self.learner.steps_done == FIRST_FIT:
                    self._fit_to_minutes(pace)
                    self.eval_every = self._choose_eval_every(pace.evaluations)
            step = Step(
                *(self.learner.steps_done, self.last_step, self._epoch(), losses, rate, speed)
            )
            self._check_loss(step)
            if self.learner.skipped_steps == MANY_SKIPPED:
                on_note(
                    f"the gradients of {MANY_SKIPPED} steps in a row overflowed in float16: these "
                    f"steps changed no weights. If this happens again, use --precision {FLOAT32}"
                )
            run_log.write_step(step)
            on_step(step)
            is_last = step.number == self.last_step
            if self._needs_evaluation(step.number):
                before = time.perf_counter()
                on_evaluation(self._evaluate(run_log))
                is_last = is_last or self._is_stale()
                if pace:
                    pace.add_evaluation(time.perf_counter() - before)
                    if step.number > FIRST_FIT and not (is_last or self.settings.deterministic):
                        self._fit_to_minutes(pace)  # the machine may have become slower or faster
            if step.number % self.settings.checkpoint_every == 0 or is_last:
                run_log.flush()
                self._save(self.manager)
                on_saved()
            if is_last:
                return
            before = time.perf_counter()

    def _evaluate_if_missing(
        self, run_log: RunLog, on_evaluation: Callable[[Evaluation], None]
    ) -> None:
        """Evaluates if the run was interrupted between its last step and that evaluation."""
        is_missing = not run_log.has_evaluation(self.learner.steps_done)
        if strategies.is_true_for_chief(self.learner.strategy, is_missing):
            on_evaluation(self._evaluate(run_log))
            self._save(self.manager)

    def _all_batches(self, pace: Pace | None) -> Iterator[tuple[Tensors, Tensors]]:
        """Yields the batches of both parts of the run, from the next step on."""
        size = self._input_size()
        for batch in self.batches:
            if self._input_size() != size:
                break
            yield batch
        else:
            return
        if pace:
            pace.end_first_part()
        self.batches = self._batches_of_size()
        yield from self.batches

    def _batches_of_size(self) -> Iterable[tuple[Tensors, Tensors]]:
        settings = self.settings
        return self.learner.training_batches(settings.seed, settings.balance, self._input_size())

    def _input_size(self) -> int | None:
        """Returns the input size of the next step in pixels; None if all steps have the same."""
        first = self.settings.first_input_size
        if first is None or is_first_part(self.learner.steps_done, self.last_step):
            return first
        size, _ = input_size(self.pipeline)
        return size

    def _pace(self) -> Pace | None:
        settings = self.settings
        if settings.minutes is None:
            return None
        images = self.data.splits["val"].images if "val" in self.data.splits else 0
        later = FACTORS if settings.detection_sizes else ()
        growth = 1.0
        if first := settings.first_input_size:
            size, _ = input_size(self.pipeline)
            growth = (size / first) ** 2
        return Pace(settings.minutes, settings.eval_every, images / self.batch_size, later, growth)

    def _fit_to_minutes(self, pace: Pace) -> None:
        """Sets the number of steps so that the run takes `minutes`."""
        fitting = pace.fitting_steps(self.learner.steps_done, time.monotonic() - self.started)
        self.later_sizes = pace.later_sizes
        # An earlier, lower number may have shortened its warm-up. When the run is resumed, the
        # number of steps alone must give the same schedule.
        pipelines.learning_rate_schedule(self.pipeline.train_config).CopyFrom(self.schedule)
        self.learner.set_steps(min(self.most_steps, fitting))
        pipelines.write_pipeline(self.pipeline, RunFolder(self.folder).config)

    @property
    def last_step(self) -> int:
        return self.pipeline.train_config.num_steps

    def _epoch(self) -> float:
        images = self.learner.steps_done * self.batch_size
        return images / self.data.splits["train"].images

    def _choose_eval_every(self, evaluations: int | None = None) -> int:
        return self.settings.eval_every or math.ceil(self.last_step / (evaluations or EVALUATIONS))

    def _needs_evaluation(self, step: int) -> bool:
        if "val" not in self.data.splits:
            return False
        if step == self.last_step:
            return True
        # The last step has an evaluation anyway, which would follow soon.
        is_near = not self.settings.eval_every and self.last_step - step < self.eval_every / 2
        return step % self.eval_every == 0 and not is_near

    def _save(self, manager: tf.train.CheckpointManager, number: int | None = None) -> None:
        import tensorflow as tf

        try:
            manager.save(checkpoint_number=number)
        except tf.errors.OpError as error:
            if strategies.is_lost_worker(error, self.learner.strategy):
                raise  # `run` reports it
            raise self._write_error(error.message.splitlines()[0]) from error

    def _write_error(self, reason: str) -> UserError:
        remedy = (
            "Free disk space or change the permissions, then repeat the command to resume, without "
            "--overwrite"
        )
        return UserError(self.folder, f"cannot be written: {reason}", remedy)

    def _is_stale(self) -> bool:
        return self.settings.patience is not None and int(self.stale) >= self.settings.patience

    def _check_loss(self, step: Step) -> None:
        """Raises a UserError if the loss exploded."""
        if not step.total_loss < MAX_LOSS:  # also true for NaN
            earlier = self.manager.latest_checkpoint
            or_precision = f" or --precision {FLOAT32}" if self.learner.scales_losses else ""
            raise UserError(
                self.folder,
                f"the loss of step {step.number} is {step.total_loss:g}",
                f"Train into another --output with a --learning-rate below {step.learning_rate:g}"
                + or_precision
                + (f"; {earlier} was saved before this step" if earlier else ""),
            )

    def _evaluate(self, run_log: RunLog) -> Evaluation:
        """Evaluates the model on the val split, and saves it if it is the best so far."""
        with self.learner.averaged():
            metrics, losses, examples = self._evaluate_split()
            ap = metrics.coco["AP"] or 0.0
            best = ap > float(self.best_ap)
            if best:
                self._save(self.best, self.learner.steps_done)
                metrics.write(RunFolder(self.folder).best_metrics)
                # Last: after Ctrl-C in between, the evaluation that is repeated is the best again.
                self.best_ap.assign(ap)
                self.stale.assign(0)
            else:
                self.stale.assign_add(1)
        evaluation = Evaluation(self.learner.steps_done, self._epoch(), losses, metrics.coco, best)
        run_log.write_evaluation(evaluation, examples)
        return evaluation

    def _evaluate_split(self) -> tuple[Metrics, dict[str, float], list[ValidationExample]]:
        """Returns the metrics, the mean losses, and the first images with their detections."""
        records = read_records(self.data.splits["val"].shards)
        ground_truth, detections = [], []
        examples: list[ValidationExample] = []
        sums: defaultdict[str, float] = defaultdict(float)
        batches = 0
        images = self.data.splits["val"].images
        self.progress(EVALUATION, 0, images)
        for features, labels in self.val_batches:
            batches += 1
            losses, (boxes, scores, class_ids) = self.learner.evaluate(features, labels)
            for name, loss in losses.items():
                sums[name] += float(loss)
            # The last batch is filled up with the first images, for which no record is left. zip
            # reads its arguments in order: with the records last, it drops none of them when the
            # batch ends.
            outputs = zip(boxes, scores, class_ids, strict=True)
            for (image_boxes, image_scores, image_ids), record in zip(
                outputs, records, strict=False
            ):
                detected = detections_from_outputs(
                    image_boxes, image_scores, image_ids, self.data.classes
                )
                ground_truth.append(record.annotation)
                detections.append(detected)
                if len(examples) < EXAMPLES:
                    pixels = load_rgb(record.image.data)
                    examples.append(ValidationExample(pixels, record.annotation, detected))
            self.progress(EVALUATION, len(detections), images)
        metrics, _ = evaluate(ground_truth, detections, self.data.classes.values())
        return metrics, {name: total / batches for name, total in sums.items()}, examples
