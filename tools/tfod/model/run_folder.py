"""The layout of a run folder, which `tfod train` writes and other commands read."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

from tfod.dataset.label_map import LABEL_MAP
from tfod.errors import UserError
from tfod.folder_kind import FolderKind
from tfod.model.detection_file import (
    DETECTION_NAME,
    stored_input_size,
    stored_threshold,
    stored_tiles,
)
from tfod.model.pipeline import CONFIG_NAME
from tfod.tiles import Tiles

METRICS_NAME = "metrics.json"
RUN = FolderKind(
    "a run folder",
    (CONFIG_NAME, "run.json"),
    (
        *("plan.md", LABEL_MAP, DETECTION_NAME, METRICS_NAME, "metrics.csv", "training.png"),
        *("checkpoint*", "ckpt-*", "best", "train", "val"),
    ),
)


@dataclass(frozen=True)
class RunFolder:
    """The paths in a run folder, and what its small files contain. The files may not exist yet.

    Attributes:
      path: the folder. It contains the newest checkpoints, `ckpt-N`.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The `pipeline.config` that the run uses."""
        return self.path / CONFIG_NAME

    @property
    def settings(self) -> Path:
        """`run.json` with the `training.RunSettings`."""
        return self.path / "run.json"

    @property
    def plan(self) -> Path:
        """`plan.md`: the choices of `--pipeline auto` and their reasons."""
        return self.path / "plan.md"

    @property
    def detection(self) -> Path:
        """`detection.json`: input size and threshold that are best on the val split, and tiles."""
        return self.path / DETECTION_NAME

    @property
    def label_map(self) -> Path:
        return self.path / LABEL_MAP

    @property
    def best(self) -> Path:
        """The folder of the checkpoint with the highest AP on the val split."""
        return self.path / "best"

    @property
    def best_metrics(self) -> Path:
        """The metrics of the best checkpoint on the val split, see `evaluation.Metrics`."""
        return self.best / METRICS_NAME

    @property
    def metrics(self) -> Path:
        """The metrics that `tfod evaluate` measured."""
        return self.path / METRICS_NAME

    @property
    def table(self) -> Path:
        """`metrics.csv`: one row per step and one per evaluation."""
        return self.path / "metrics.csv"

    @property
    def curves(self) -> Path:
        """A plot of the table."""
        return self.path / "training.png"

    @property
    def is_run(self) -> bool:
        """Whether `tfod train` wrote this folder: it has a config, and is not an export."""
        return self.config.is_file() and not (self.path / "saved_model").is_dir()

    def checkpoint(self) -> Path:
        """Returns the prefix of the best checkpoint; of the newest if none was evaluated.

        Raises:
          UserError: there is no checkpoint yet.
        """
        import tensorflow as tf

        prefix = tf.train.latest_checkpoint(str(self.best)) or self.newest_checkpoint()
        if prefix is None:
            remedy = "Repeat its tfod train command"
            raise UserError(self.path, "has no checkpoint yet", remedy)
        return Path(prefix)

    def newest_checkpoint(self) -> Path | None:
        """Returns the prefix of the checkpoint to resume from; None in a new run."""
        import tensorflow as tf

        prefix = tf.train.latest_checkpoint(str(self.path))
        return Path(prefix) if prefix else None

    def threshold(self) -> float | None:
        """Returns the score threshold with the best F1 on the val split; None if unknown.

        Raises:
          UserError: a file is damaged.
        """
        threshold = stored_threshold(self.detection)
        return stored_threshold(self.best_metrics) if threshold is None else threshold

    def detection_size(self) -> int | None:
        """Returns the input size for detection in pixels; None for the training size.

        Raises:
          UserError: `detection.json` is damaged.
        """
        return stored_input_size(self.detection)

    def tiles(self) -> Tiles | None:
        """Returns the tiles of images that the run was trained on; None for whole images.

        Raises:
          UserError: `detection.json` is damaged.
        """
        return stored_tiles(self.detection)

    def table_rows(self, last_step: int = sys.maxsize) -> list[dict[str, str]]:
        """Returns the rows of the table up to a step. A truncated last line is ignored."""
        if not self.table.is_file():
            return []
        with self.table.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if None not in row.values()]
        return [row for row in rows if row["step"].isdigit() and int(row["step"]) <= last_step]

    def training_seconds(self, last_step: int = sys.maxsize) -> float | None:
        """Returns the training time up to a step, without interruptions; None if unknown."""
        rows = self.table_rows(last_step)
        return float(rows[-1]["seconds"]) if rows and rows[-1].get("seconds") else None
