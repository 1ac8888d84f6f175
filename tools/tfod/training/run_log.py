"""What a run writes down while it learns: metrics.csv, TensorBoard logs, and training.png."""

from __future__ import annotations

import contextlib
import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.detection.detections import Detections, detections_from_outputs
from tfod.detection.drawing import draw_detections
from tfod.files import replacing_file
from tfod.model.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from tfod.training.events import Evaluation, Step

IMAGES_SHOWN = 4  # pictures in TensorBoard, with ground truth and detections
THRESHOLD = 0.3  # of the detections drawn
SMOOTHING = 50  # steps that a point of the loss curve is the mean of

LOSSES = ("total_loss", "localization_loss", "classification_loss", "regularization_loss")
METRICS = ("AP", "AP50", "AP_small", "AP_medium", "AP_large", "AR_100")
COLUMNS = (
    "step",
    "seconds",
    *LOSSES,
    "learning_rate",
    "images_per_second",
    *(f"val_{name}" for name in LOSSES),
    *METRICS,
)


@dataclass(frozen=True, eq=False)
class SideBySide:
    """A picture uint8 `[H, W, 3]` RGB, its ground truth, and what the detector found."""

    pixels: np.ndarray
    truth: Annotation
    found: Detections

    def draw(self) -> np.ndarray:
        """Ground truth on the left, detections on the right; uint8 `[H, 2 W, 3]` RGB."""
        names = sorted({box.name for box in self.truth.objects} | set(self.found.names))
        ids = {name: number for number, name in enumerate(names, 1)}
        boxes = np.array([box.corners for box in self.truth.objects], np.float32).reshape(-1, 4)
        truth = detections_from_outputs(
            pixel_xyxy_to_normalized_yxyx(boxes, self.truth.width, self.truth.height),
            np.ones(len(boxes), np.float32),
            np.array([ids[box.name] for box in self.truth.objects]),
            {number: name for name, number in ids.items()},
        )
        left = draw_detections(self.pixels, truth, with_scores=False)
        return np.hstack([left, draw_detections(self.pixels, self.found.above(THRESHOLD))])


class RunLog:
    """Open while a run goes on; what was written after the step it resumes from is dropped.

    In the table `seconds` is how long the run had been learning, breaks left out.
    """

    def __init__(self, folder: Path, done: int) -> None:
        import tensorflow as tf

        self._run = RunFolder(folder)
        self._open = contextlib.ExitStack()
        self._rows = self._run.table_rows(done)
        self._started = time.monotonic() - (self._run.training_seconds(done) or 0.0)
        with replacing_file(self._run.table) as partial, partial.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self._rows)
        file = self._open.enter_context(self._run.table.open("a", newline=""))
        self._table, self._file = csv.DictWriter(file, COLUMNS, lineterminator="\n"), file
        # TensorBoard takes what comes later for a step for the truth, so nothing is dropped there.
        self._train = tf.summary.create_file_writer(str(folder / "train"))
        self._val = tf.summary.create_file_writer(str(folder / "val"))
        self._open.callback(self._train.close)
        self._open.callback(self._val.close)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def has_evaluation(self, step: int) -> bool:
        """Whether the table had one of this step when it was opened."""
        return any(row["step"] == str(step) and row["val_total_loss"] for row in self._rows)

    def _row(self, step: int) -> dict[str, int | str]:
        return {"step": step, "seconds": f"{time.monotonic() - self._started:.1f}"}

    def write_step(self, step: Step) -> None:
        import tensorflow as tf

        row = self._row(step.number) | {"learning_rate": f"{step.learning_rate:.6g}"}
        row["images_per_second"] = f"{step.images_per_second:.1f}"
        row |= _columns(step.losses)
        self._table.writerow(row)
        with self._train.as_default(step=step.number):
            for name, value in step.losses.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("learning_rate", step.learning_rate)
            tf.summary.scalar("images_per_second", step.images_per_second)

    def write_evaluation(self, evaluation: Evaluation, examples: list[SideBySide]) -> None:
        import tensorflow as tf

        row = self._row(evaluation.step)
        row |= {f"val_{name}": value for name, value in _columns(evaluation.losses).items()}
        row |= {name: _text(evaluation.metrics[name]) for name in METRICS}
        self._table.writerow(row)
        with self._val.as_default(step=evaluation.step):
            for name, value in evaluation.losses.items():
                tf.summary.scalar(name, value)
            for name, value in evaluation.metrics.items():
                if value is not None:
                    tf.summary.scalar(f"DetectionBoxes/{name}", value)
            for number, example in enumerate(examples):
                tf.summary.image(f"ground_truth_and_detections/{number}", [example.draw()])
        self.flush()
        self.draw()

    def flush(self) -> None:
        """Puts on the disk what was written."""
        self._file.flush()
        self._train.flush()
        self._val.flush()

    def draw(self) -> None:
        """Draws training.png from metrics.csv."""
        import pandas as pd

        self._file.flush()
        draw_curves(pd.read_csv(self._run.table), self._run.curves)


def draw_curves(table: pd.DataFrame, path: Path) -> None:
    """Losses above, AP and learning rate below, over the steps.

    Args:
      table: as metrics.csv has it: one row a step, and one an evaluation.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    losses, precision = figure.subplots(2, 1, sharex=True)
    steps = table[table["total_loss"].notna()]
    window = max(1, min(SMOOTHING, len(steps) // 10))
    for name, colour in zip(LOSSES, ("black", "tab:blue", "tab:orange", "tab:gray"), strict=True):
        curve = steps[name].rolling(window, min_periods=1).mean()
        losses.plot(steps["step"], curve, color=colour, label=name.replace("_", " "))
        judged = table[table[f"val_{name}"].notna()]
        losses.plot(judged["step"], judged[f"val_{name}"], "o--", color=colour, markersize=4)
    losses.set(yscale="log", ylabel=f"loss (lines: training, mean of {window}; dots: validation)")
    losses.legend()
    judged = table[table["AP"].notna()]
    for name in ("AP", "AP50", "AP_small"):
        precision.plot(judged["step"], judged[name], "o-", label=name.replace("_", " "))
    precision.set(xlabel="step", ylabel="on the val split", ylim=(0, 1))
    precision.legend(loc="upper left")
    rate = precision.twinx()
    rate.plot(steps["step"], steps["learning_rate"], color="tab:gray", linewidth=1)
    rate.set(ylabel="learning rate (gray)", ylim=(0, None))
    for axes in (losses, precision):
        axes.grid(alpha=0.3)
    with replacing_file(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _columns(losses: dict[str, float]) -> dict[str, str]:
    """Losses by column: `Loss/total_loss` is total_loss. Others, such as RPN losses, are summed."""
    named = {name: 0.0 for name in LOSSES}
    for name, value in losses.items():
        name = name.replace("objectness", "classification")
        kind = next((each for each in LOSSES if name.endswith(each)), None)
        if kind:
            named[kind] += value
    return {name: _text(value) for name, value in named.items()}


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
