"""The logs of a run: metrics.csv, TensorBoard events and training.png."""

from __future__ import annotations

import contextlib
import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.detection.detections import Detections, detections_from_annotation
from tfod.detection.drawing import draw_detections
from tfod.files import replacing_file
from tfod.model.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from tfod.training.events import Evaluation, Step

EXAMPLES = 4  # validation images in TensorBoard
THRESHOLD = 0.3  # minimum score of the detections drawn
SMOOTHING = 50  # maximum number of steps averaged in a point of a loss curve

LOSSES = ("total_loss", "localization_loss", "classification_loss", "regularization_loss")
METRICS = ("AP", "AP50", "AP_small", "AP_medium", "AP_large", "AR_100")
COLUMNS = (
    "step",
    "epoch",
    "seconds",
    *LOSSES,
    "learning_rate",
    "images_per_second",
    *(f"val_{name}" for name in LOSSES),
    *METRICS,
)


@dataclass(frozen=True, eq=False)
class ValidationExample:
    """A validation image with its ground truth and detections.

    Attributes:
      pixels: uint8 `[H, W, 3]`, RGB.
    """

    pixels: np.ndarray
    ground_truth: Annotation
    detections: Detections

    def draw(self) -> np.ndarray:
        """Returns uint8 `[H, 2 W, 3]` RGB: ground truth on the left, detections on the right."""
        objects = self.ground_truth.objects
        names = sorted({box.name for box in objects} | set(self.detections.names))
        truth = detections_from_annotation(self.ground_truth, dict(enumerate(names, 1)))
        left = draw_detections(self.pixels, truth, with_scores=False)
        return np.hstack([left, draw_detections(self.pixels, self.detections.above(THRESHOLD))])


class RunLog:
    """Writes the logs of a run. Use as a context manager.

    Rows of metrics.csv after the step that the run resumes from are dropped. The column `seconds`
    is the time since the start of the run, without interruptions.

    Args:
      folder: the run folder.
      steps_done: the step that the run resumes from; 0 for a new run.
    """

    def __init__(self, folder: Path, steps_done: int) -> None:
        import tensorflow as tf

        self._run = RunFolder(folder)
        self._open = contextlib.ExitStack()
        self._rows = self._run.table_rows(steps_done)
        self._started = time.monotonic() - (self._run.training_seconds(steps_done) or 0.0)
        with replacing_file(self._run.table) as partial, partial.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self._rows)
        file = self._open.enter_context(self._run.table.open("a", newline=""))
        self._table, self._file = csv.DictWriter(file, COLUMNS, lineterminator="\n"), file
        # TensorBoard shows the latest event of each step, so that old events can stay.
        self._train = tf.summary.create_file_writer(str(folder / "train"))
        self._val = tf.summary.create_file_writer(str(folder / "val"))
        self._open.callback(self._train.close)
        self._open.callback(self._val.close)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def has_evaluation(self, step: int) -> bool:
        """Whether the table had an evaluation of this step when it was opened."""
        return any(row["step"] == str(step) and row["val_total_loss"] for row in self._rows)

    def _row(self, step: int, epoch: float) -> dict[str, int | str]:
        seconds = time.monotonic() - self._started
        return {"step": step, "epoch": f"{epoch:.2f}", "seconds": f"{seconds:.1f}"}

    def write_step(self, step: Step) -> None:
        """Adds a row and TensorBoard scalars; both are buffered."""
        import tensorflow as tf

        row = self._row(step.number, step.epoch) | {"learning_rate": f"{step.learning_rate:.6g}"}
        row["images_per_second"] = f"{step.images_per_second:.1f}"
        row |= _columns(step.losses)
        self._table.writerow(row)
        with self._train.as_default(step=step.number):
            for name, value in step.losses.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("learning_rate", step.learning_rate)
            tf.summary.scalar("images_per_second", step.images_per_second)

    def write_evaluation(self, evaluation: Evaluation, examples: list[ValidationExample]) -> None:
        """Adds a row, TensorBoard scalars and images, flushes all logs and draws training.png."""
        import tensorflow as tf

        row = self._row(evaluation.step, evaluation.epoch)
        row |= {f"val_{name}": value for name, value in _columns(evaluation.losses).items()}
        row |= {name: _format(evaluation.metrics[name]) for name in METRICS}
        self._table.writerow(row)
        with self._val.as_default(step=evaluation.step):
            for name, loss in evaluation.losses.items():
                tf.summary.scalar(name, loss)
            for name, metric in evaluation.metrics.items():
                if metric is not None:
                    tf.summary.scalar(f"DetectionBoxes/{name}", metric)
            for number, example in enumerate(examples):
                # An array: TensorFlow takes a second to convert a list that contains one.
                image = example.draw()[np.newaxis]
                tf.summary.image(f"ground_truth_and_detections/{number}", image)
        self.flush()
        self.draw()

    def flush(self) -> None:
        """Writes buffered rows and events to the disk."""
        self._file.flush()
        self._train.flush()
        self._val.flush()

    def draw(self) -> None:
        """Draws training.png from metrics.csv."""
        import pandas as pd

        self._file.flush()
        draw_curves(pd.read_csv(self._run.table), self._run.curves)


def draw_curves(table: pd.DataFrame, path: Path) -> None:
    """Plots losses (top), and AP and learning rate (bottom), over the steps.

    Args:
      table: the content of metrics.csv, with one row per step and one per evaluation.
      path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    losses, precision = figure.subplots(2, 1, sharex=True)
    steps = table[table["total_loss"].notna()]
    window = max(1, min(SMOOTHING, len(steps) // 10))
    for name, color in zip(LOSSES, ("black", "tab:blue", "tab:orange", "tab:gray"), strict=True):
        curve = steps[name].rolling(window, min_periods=1).mean()
        losses.plot(steps["step"], curve, color=color, label=name.replace("_", " "))
        evaluated = table[table[f"val_{name}"].notna()]
        losses.plot(evaluated["step"], evaluated[f"val_{name}"], "o--", color=color, markersize=4)
    losses.set(yscale="log", ylabel=f"loss (lines: training, mean of {window}; dots: validation)")
    losses.legend()
    evaluated = table[table["AP"].notna()]
    for name in ("AP", "AP50", "AP_small"):
        precision.plot(evaluated["step"], evaluated[name], "o-", label=name.replace("_", " "))
    precision.set(xlabel="step", ylabel="AP on the val split", ylim=(0, 1))
    precision.legend(loc="upper left")
    rate = precision.twinx()
    rate.plot(steps["step"], steps["learning_rate"], color="tab:gray", linewidth=1)
    rate.set(ylabel="learning rate (gray)", ylim=(0, None))
    for axes in (losses, precision):
        axes.grid(alpha=0.3)
    with replacing_file(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _columns(losses: dict[str, float]) -> dict[str, str]:
    """Returns losses by column name: `Loss/total_loss` becomes `total_loss`.

    The RPN losses of Faster R-CNN are added to the corresponding loss.
    """
    sums = dict.fromkeys(LOSSES, 0.0)
    for name, value in losses.items():
        name = name.replace("objectness", "classification")
        column = next((column for column in LOSSES if name.endswith(column)), None)
        if column:
            sums[column] += value
    return {name: _format(value) for name, value in sums.items()}


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
