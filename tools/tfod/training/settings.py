"""What a run is started with, and `run.json`, which keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tfod.errors import UserError
from tfod.model.run_folder import RunFolder
from tfod.training.precision import AUTO


@dataclass(frozen=True)
class RunSettings:
    """What a run needs besides its pipeline.config to be repeated or resumed.

    Attributes:
      seed: of weights, input order and augmentation.
      checkpoint_every: steps between checkpoints; the last step is always saved.
      keep: how many of the newest checkpoints stay.
      eval_every: steps between evaluations on the val split; None for a tenth of the run. The last
        step is always evaluated.
      patience: stop after so many evaluations in a row without a better AP; None to never stop.
      deterministic: the same run has the same weights to the last bit, also where it was killed on
        its way; some operations are slower for it.
      precision: float32 or bfloat16 of the convolutions in a step, or auto for the faster one.
      balance: show pictures with rare classes more often (`sampling.balanced_epoch`).
    """

    seed: int = 0
    checkpoint_every: int = 100
    keep: int = 3
    eval_every: int | None = None
    patience: int | None = None
    deterministic: bool = False
    precision: str = AUTO
    balance: bool = False


def read_settings(run: RunFolder) -> RunSettings:
    """The settings a run was started with.

    Raises:
      UserError: `run` is not a run folder.
    """
    try:
        return RunSettings(**json.loads(run.settings.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            run.path, "is not a run folder", "Name a folder that `tfod train --output` wrote"
        ) from error


def write_settings(run: RunFolder, settings: RunSettings) -> None:
    """Writes `run.json`."""
    run.settings.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
