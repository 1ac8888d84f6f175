"""The settings of a run, and `run.json`, which stores them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tfod.errors import UserError
from tfod.model.run_folder import RunFolder
from tfod.training.choices import TEMPLATE
from tfod.training.precision import AUTO

# What depends on the machine. A run can resume with others.
MACHINE_SETTINGS = ("precision", "accumulate", "jit")


@dataclass(frozen=True)
class RunSettings:
    """Everything that repeats or resumes a run, apart from its pipeline.config.

    Attributes:
      seed: of the initial weights, the input order and the augmentation.
      checkpoint_every: steps between checkpoints. The last step is always saved.
      keep: number of the newest checkpoints to keep.
      eval_every: steps between evaluations on the val split; None for a tenth of the run. The last
        step is always evaluated.
      patience: stops after this number of successive evaluations without a better AP; None to
        train all steps.
      deterministic: the same run gives bit-identical weights, even if it was killed and resumed.
        Some operations are slower.
      precision: of the convolutions in a step: float32, bfloat16, float16, or auto, see
        `precision.resolve_precision`.
      balance: repeats images of rare classes (`class_balance.balanced_epoch`).
      losses: see `choices`.
      detection_sizes: chooses the input size for detection after training, see
        `detection_choice.choose_detection`.
      first_input_size: of the first steps, in pixels, see `growing_input`; None for the size in
        the pipeline.config for all steps.
      minutes: longest duration of the run. The duration of its steps decides how many fit, see
        `pace`; those of the pipeline.config are the most. None to train all of them.
      accumulate: number of equal parts of a batch, which are processed one after another; their
        gradients are summed.
      jit: compiles the steps with XLA, see `xla`.
    """

    seed: int = 0
    checkpoint_every: int = 100
    keep: int = 3
    eval_every: int | None = None
    patience: int | None = None
    deterministic: bool = False
    precision: str = AUTO
    balance: bool = False
    minutes: float | None = None
    losses: str = TEMPLATE
    detection_sizes: bool = False
    first_input_size: int | None = None
    accumulate: int = 1
    jit: bool = False


def read_settings(run: RunFolder) -> RunSettings:
    """Reads the settings that a run was started with.

    Raises:
      UserError: `run` is not a run folder.
    """
    try:
        return RunSettings(**json.loads(run.settings.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            run.path, "exists and is not a run folder", "Choose another --output"
        ) from error


def write_settings(run: RunFolder, settings: RunSettings) -> None:
    """Writes `run.json`."""
    run.settings.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
