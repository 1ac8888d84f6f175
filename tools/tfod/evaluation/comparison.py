"""Compares runs, exports and .tflite files: accuracy, size and speed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.detector import Detector
from tfod.evaluation.candidates import (
    RUN,
    Candidate,
    count_bytes,
    count_parameters,
    describe_input,
)
from tfod.evaluation.matching import Matching
from tfod.evaluation.metrics import Metrics, evaluate
from tfod.model.run_folder import RunFolder
from tfod.progress import Progress, silent, tracked
from tfod.text import percent, printable

WARM_UP = 3  # images that are not timed: graphs are traced and buffers allocated


@dataclass(frozen=True, eq=False)
class Compared:
    """A model with its results on a split.

    Attributes:
      candidate: the model.
      metrics, matching: as `tfod evaluate` computes them: counts are at the model's threshold.
      milliseconds: median time per image from pixels to boxes, one image at a time.
    """

    candidate: Candidate
    metrics: Metrics
    matching: Matching
    milliseconds: float


def compare(
    candidates: Sequence[Candidate], data: Dataset, split: str, progress: Progress = silent
) -> list[Compared]:
    """Evaluates models on the same images of a split, one model after another.

    Args:
      progress: called with the name and kind of each model; counts images.

    Raises:
      UserError: a model cannot be loaded, or detects other classes than those of the data set.
    """
    return [_evaluate(candidate, data, split, progress) for candidate in candidates]


def _evaluate(candidate: Candidate, data: Dataset, split: str, progress: Progress) -> Compared:
    detector = Detector.load(candidate.path)
    ground_truth, detections, seconds = [], [], []
    part = data.split(split)
    title = printable(f"{candidate.name}, {candidate.kind}")
    for record in tracked(read_records(part.shards), progress, title, part.images):
        pixels = detector.decode(record.image.data)
        started = time.perf_counter()
        detections.append(detector.predict(pixels))
        seconds.append(time.perf_counter() - started)
        ground_truth.append(record.annotation)
    evaluated = evaluate(ground_truth, detections, data.classes.values(), detector.threshold)
    return Compared(candidate, *evaluated, 1000 * float(np.median(seconds[WARM_UP:] or seconds)))


def comparison_table(models: Sequence[Compared]) -> pd.DataFrame:
    """Returns one row per model. Unknown values are NaN.

    The columns are `model`, `kind`, `input` (pixels), `parameters`, `MB` (of the file or folder
    needed for inference), `steps`, `epochs` and `minutes` (of the whole training; of runs only),
    `ms` (`Compared.milliseconds`), the twelve COCO metrics, `objects` (in the split), `identified`,
    `missed`, `false` (counts) and `threshold`.
    """
    return pd.DataFrame([_row(model) for model in models])


def _row(model: Compared) -> dict[str, object]:
    candidate, metrics = model.candidate, model.metrics
    return {
        "model": candidate.name,
        "kind": candidate.kind,
        "input": describe_input(candidate),
        "parameters": count_parameters(candidate),
        "MB": count_bytes(candidate) / 1e6,
        **_training(candidate),
        "ms": model.milliseconds,
        **{name: math.nan if value is None else value for name, value in metrics.coco.items()},
        "objects": metrics.objects,
        "identified": metrics.identified,
        "missed": metrics.missed,
        "false": metrics.false,
        "threshold": metrics.threshold,
    }


def _training(candidate: Candidate) -> dict[str, float]:
    rows = RunFolder(candidate.path).table_rows() if candidate.kind == RUN else []
    last = {name: value for name, value in rows[-1].items() if value} if rows else {}
    return {
        "steps": float(last.get("step", math.nan)),
        "epochs": float(last.get("epoch", math.nan)),
        "minutes": float(last.get("seconds", math.nan)) / 60,
    }


def formatted(table: pd.DataFrame, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yields the rows of a `comparison_table`, for people. NaN is a dash."""
    formats = {
        "parameters": "{:,.0f}",
        "MB": "{:.1f}",
        "steps": "{:.0f}",
        "epochs": "{:.1f}",
        "minutes": "{:.0f}",
        "ms": "{:.0f}",
        "threshold": "{:.2f}",
    }
    for row in table.to_dict("records"):
        shown = []
        for name in columns:
            value = row[name]
            if name in ("identified", "missed", "false"):
                shown.append(f"{value} ({percent(value, row['objects'])})")
            elif name.startswith(("AP", "AR")):
                shown.append("-" if pd.isna(value) else f"{value:.3f}")
            else:
                shown.append("-" if pd.isna(value) else formats.get(name, "{}").format(value))
        yield shown
