"""Compares runs, exports and .tflite files: accuracy, size and speed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfod import figures
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.detector import Detector
from tfod.detection.tflite_file import read_tflite
from tfod.errors import UserError
from tfod.evaluation.metrics import evaluate
from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import read_pipeline
from tfod.model.run_folder import RunFolder
from tfod.progress import Progress, silent, tracked
from tfod.text import printable

TABLE, PLOT = "comparison.csv", "comparison.png"
MARKERS = {"run": "o", "SavedModel": "s", "TFLite": "^"}
WARM_UP = 3  # images that are not timed: graphs are traced and buffers allocated


@dataclass(frozen=True)
class Candidate:
    """A model to compare.

    Attributes:
      path: as `Detector.load` accepts it.
      kind: run, SavedModel or TFLite.
    """

    path: Path
    kind: str

    @property
    def name(self) -> str:
        if self.kind == "TFLite":
            return f"{self.path.parent.name}/{self.path.name}"
        return self.path.name

    @property
    def folder(self) -> Path:
        return self.path.parent if self.kind == "TFLite" else self.path


def find_candidates(paths: Iterable[Path]) -> list[Candidate]:
    """Returns the models at these paths.

    A run folder gives its best checkpoint, an export folder its SavedModel and all `.tflite` files.

    Raises:
      UserError: a path contains no model.
    """
    candidates = []
    for path in paths:
        if path.suffix == ".tflite" and path.is_file():
            candidates.append(Candidate(path, "TFLite"))
        elif ExportFolder(path).is_export:
            candidates.append(Candidate(path, "SavedModel"))
            candidates += [Candidate(file, "TFLite") for file in sorted(path.glob("*.tflite"))]
        elif RunFolder(path).is_run:
            candidates.append(Candidate(path, "run"))
        else:
            raise UserError(
                path,
                "does not contain a model",
                "Give run folders, export folders and .tflite files",
            )
    return candidates


def compare(
    candidates: Sequence[Candidate],
    data: Dataset,
    split: str,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Evaluates models on the same images of a split, one model after another.

    Args:
      progress: called with the name and kind of each model; counts images.

    Returns:
      One row per model: `model`, `kind`, `input` (pixels), `parameters`, `MB` (of the file or
      folder needed for inference), `training` (minutes), `AP`, `AP50`, `correct` and `false`
      (identified objects and false detections as fractions of the objects, at the threshold with
      the best F1), `threshold`, and `ms` (median time per image from pixels to boxes, one image at
      a time). Unknown values are NaN.
    """
    return pd.DataFrame([_row(candidate, data, split, progress) for candidate in candidates])


def _row(candidate: Candidate, data: Dataset, split: str, progress: Progress) -> dict[str, object]:
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
    metrics, _ = evaluate(ground_truth, detections, data.classes.values())
    objects = metrics.objects or math.nan
    training = RunFolder(candidate.folder).training_seconds()
    return {
        "model": candidate.name,
        "kind": candidate.kind,
        "input": _input_size(candidate),
        "parameters": _parameters(candidate),
        "MB": _bytes(candidate) / 1e6,
        "training": training / 60 if training is not None else math.nan,
        "AP": _nan_if_none(metrics.coco["AP"]),
        "AP50": _nan_if_none(metrics.coco["AP50"]),
        "correct": metrics.identified / objects,
        "false": metrics.false / objects,
        "threshold": metrics.threshold,
        "ms": 1000 * float(np.median(seconds[WARM_UP:] or seconds)),
    }


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value


def _input_size(candidate: Candidate) -> str:
    """Returns the input size: width x height, or the range of edges in the pipeline.config."""
    from object_detection.utils import config_util

    run = RunFolder(candidate.folder)
    if candidate.kind == "run" and (size := run.detection_size()):
        return f"{size} x {size}"
    config = run.config
    if candidate.kind == "TFLite" and not config.is_file():
        spec = read_tflite(candidate.path).input
        return f"{spec.width} x {spec.height}"
    resizer = config_util.get_image_resizer_config(read_pipeline(config).model)
    if resizer.HasField("fixed_shape_resizer"):
        fixed = resizer.fixed_shape_resizer
        return f"{fixed.width} x {fixed.height}"
    keep_aspect_ratio = resizer.keep_aspect_ratio_resizer
    return f"{keep_aspect_ratio.min_dimension} to {keep_aspect_ratio.max_dimension}"


def _checkpoint(candidate: Candidate) -> Path:
    """Returns the checkpoint prefix of a run, or of the run that was exported."""
    export = ExportFolder(candidate.folder)
    return export.checkpoint if export.is_export else RunFolder(candidate.folder).checkpoint()


def _parameters(candidate: Candidate) -> float:
    """Counts the weights in the checkpoint, including the moving averages of batch norm."""
    import tensorflow as tf

    if candidate.kind == "TFLite" and not ExportFolder(candidate.folder).is_export:
        return math.nan
    reader = tf.train.load_checkpoint(str(_checkpoint(candidate)))
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if types[name].is_floating and name.startswith("model/") and ".OPTIMIZER_SLOT" not in name
    )


def _bytes(candidate: Candidate) -> int:
    if candidate.kind == "TFLite":
        return candidate.path.stat().st_size
    if candidate.kind == "SavedModel":
        return ExportFolder(candidate.path).saved_model_bytes()
    prefix = _checkpoint(candidate)
    return sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.*"))


def plot(table: pd.DataFrame) -> Figure:
    """Plots AP50 over the time per image, one marker per model."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for row in table.itertuples():
        label = figures.label(f"{row.model}, {row.kind}")
        axes.plot(row.ms, row.AP50, MARKERS[row.kind], markersize=10, alpha=0.7, label=label)
    axes.set(
        title="Speed and accuracy",
        xlabel="ms per image, on this machine",
        ylabel="AP50",
        xlim=(0, 1.1 * table["ms"].max()),
        ylim=(0, 1.02),
    )
    axes.grid(alpha=0.3)
    # Labels next to the markers would overlap: the exports of one run have nearly the same AP50.
    figure.legend(loc="outside right upper")
    return figure


def is_comparison(folder: Path) -> bool:
    """Whether `write_comparison` wrote this folder."""
    return (folder / TABLE).is_file() and (folder / PLOT).is_file()


def write_comparison(table: pd.DataFrame, folder: Path) -> None:
    """Writes table and plot into a folder."""
    table.to_csv(folder / TABLE, index=False, float_format="%.6g")
    (folder / PLOT).write_bytes(figures.png(plot(table)))


def terminal_tables(table: pd.DataFrame) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Splits the table into two for the terminal: size and speed, then accuracy.

    Yields:
      Column names and rows of formatted values.
    """
    formats = {
        "parameters": "{:,.0f}",
        "MB": "{:.1f}",
        "training": "{:.0f} min",
        "AP": "{:.3f}",
        "AP50": "{:.3f}",
        "correct": "{:.1%}",
        "false": "{:.1%}",
        "threshold": "{:.2f}",
        "ms": "{:.0f}",
    }
    for columns in (
        ["model", "kind", "input", "parameters", "MB", "training", "ms"],
        ["model", "kind", "AP", "AP50", "correct", "false", "threshold"],
    ):
        rows = [
            [
                "-" if pd.isna(value) else formats.get(name, "{}").format(value)
                for name, value in row.items()
            ]
            for row in table[columns].to_dict("records")
        ]
        yield columns, rows
