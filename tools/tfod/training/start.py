"""How a run starts: its initial checkpoint, its new folder, or more steps for an existing one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.files import replacing_folder
from tfod.model.checkpoint import checkpoint_type, find_checkpoint
from tfod.model.pipeline import Options, read_pipeline, write_pipeline
from tfod.model.run_folder import RUN, RunFolder
from tfod.text import printable
from tfod.training import strategy as strategies
from tfod.training.settings import RunSettings, write_settings

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

    from tfod.training.learner import Learner


def resolve_checkpoint(options: Options, run: RunFolder | None) -> Options:
    """Returns the options with the prefix and the type of the initial checkpoint.

    Args:
      run: the run to resume, if any. Its initial checkpoint is not read and need not exist.

    Raises:
      UserError: the checkpoint is not valid.
    """
    if options.init is None:
        return options
    prefix, kind = options.init, options.init_type
    if run is not None and run.is_run:
        config = read_pipeline(run.config).train_config
        used = Path(config.fine_tune_checkpoint)
        if config.fine_tune_checkpoint and used.is_relative_to(prefix.resolve()):
            kind = kind or config.fine_tune_checkpoint_type
            return dataclasses.replace(options, init=used, init_type=kind)
    prefix = find_checkpoint(prefix)
    kind = kind or checkpoint_type(prefix)
    return dataclasses.replace(options, init=prefix, init_type=kind)


def note_kept_classes(
    learner: Learner, classes: Iterable[str], on_note: Callable[[str], None]
) -> None:
    """Says which classes a new run knows from the detector that it starts from, if any."""
    kept = learner.kept_classes
    if kept:
        new = [name for name in classes if name not in kept]
        text = f"starts with what the initial detector knows about {', '.join(kept)}"
        on_note(printable(f"{text}; new: {', '.join(new)}" if new else text))


def write_run_folder(
    output: Path,
    pipeline: TrainEvalPipelineConfig,
    settings: RunSettings,
    label_map: Path,
    overwrite: bool,
    plan: str | None,
) -> None:
    """Writes the folder of a new run, without checkpoints."""
    with replacing_folder(output, overwrite, check_old=RUN.check) as partial_output:
        run = RunFolder(partial_output)
        write_pipeline(pipeline, run.config)
        write_settings(run, settings)
        shutil.copyfile(label_map, run.label_map)
        if plan is not None:
            run.plan.write_text(plan, encoding="utf-8")


def extend_run(
    run: RunFolder,
    pipeline: TrainEvalPipelineConfig,
    learner: Learner,
    on_note: Callable[[str], None],
) -> None:
    """Gives an existing run the larger number of steps in the pipeline, and says what follows."""
    if strategies.is_chief(learner.strategy):
        write_pipeline(pipeline, run.config)
    on_note(
        f"the run continues after step {learner.steps_done} as one of "
        f"{pipeline.train_config.num_steps} steps: its learning rate is "
        f"{float(learner.learning_rate()):.2g} now, and decays until the last step"
    )
