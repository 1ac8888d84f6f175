"""Runs, exports and .tflite files side by side: how good, how large, how fast."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.evaluation.metrics import Metrics, evaluate
from tfod.files import replacing_folder
from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import read_pipeline
from tfod.model.run_folder import RunFolder
from tfod.progress import Progress, silent, tracked

TABLE, PLOT = "comparison.csv", "comparison.png"
MARKS = {"run": "o", "SavedModel": "s", "TFLite": "^"}
WARM_UP = 3  # pictures whose time is not counted: graphs are traced and buffers made


@dataclass(frozen=True)
class Contestant:
    """A model to compare.

    Attributes:
      path: what `Detector.load` takes.
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


def contestants(paths: Iterable[Path]) -> list[Contestant]:
    """The models at these places: a run's best checkpoint, all that an export folder holds.

    Raises:
      UserError: there is no model at one of them.
    """
    found = []
    for path in paths:
        if path.suffix == ".tflite" and path.is_file():
            found.append(Contestant(path, "TFLite"))
        elif ExportFolder(path).is_export:
            found.append(Contestant(path, "SavedModel"))
            found += [Contestant(lite, "TFLite") for lite in sorted(path.glob("*.tflite"))]
        elif RunFolder(path).is_run:
            found.append(Contestant(path, "run"))
        else:
            raise UserError(
                path, "holds no model", "Name run folders, export folders and .tflite files"
            )
    return found


def compare(
    models: Sequence[Contestant],
    data: Dataset,
    split: str,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Judges models on the same pictures of a split, one after another.

    Args:
      progress: called with the name of a model and images.

    Returns:
      A row a model: `model`, `kind`, `input` (pixels), `parameters`, `MB` (of the file or folder
      that is needed to detect), `training` (minutes), `AP`, `AP50`, `correct` and `false` (of the
      objects, at the threshold with the best F1), `threshold`, and `ms`: median time for a picture
      from pixels to boxes, one at a time. What is not known is NaN.
    """
    return pd.DataFrame([_row(model, data, split, progress) for model in models])


def _row(model: Contestant, data: Dataset, split: str, progress: Progress) -> dict[str, object]:
    detector = Detector.load(model.path)
    truths, found, seconds = [], [], []
    part = data.split(split)
    for record in tracked(read_records(part.shards), progress, model.name, part.images):
        pixels = detector.decode(record.image.data)
        before = time.perf_counter()
        found.append(detector.predict(pixels))
        seconds.append(time.perf_counter() - before)
        truths.append(record.annotation)
    metrics: Metrics = evaluate(truths, found, data.classes.values())[0]
    objects = metrics.objects or math.nan
    trained = RunFolder(model.folder).training_seconds()
    return {
        "model": model.name,
        "kind": model.kind,
        "input": _input_size(RunFolder(model.folder).config),
        "parameters": _parameters(model),
        "MB": _bytes(model) / 1e6,
        "training": trained / 60 if trained is not None else math.nan,
        "AP": _number(metrics.coco["AP"]),
        "AP50": _number(metrics.coco["AP50"]),
        "correct": metrics.identified / objects,
        "false": metrics.false / objects,
        "threshold": metrics.threshold,
        "ms": 1000 * float(np.median(seconds[WARM_UP:] or seconds)),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _input_size(config: Path) -> str:
    """As the model's config says: width x height, or the range that is kept."""
    from object_detection.utils import config_util

    resizer = config_util.get_image_resizer_config(read_pipeline(config).model)
    if resizer.HasField("fixed_shape_resizer"):
        fixed = resizer.fixed_shape_resizer
        return f"{fixed.width} x {fixed.height}"
    kept = resizer.keep_aspect_ratio_resizer
    return f"{kept.min_dimension} to {kept.max_dimension}"


def _checkpoint(model: Contestant) -> Path:
    """The prefix of the weights that a model was made of, or is."""
    export = ExportFolder(model.folder)
    return export.checkpoint if export.is_export else RunFolder(model.folder).checkpoint()


def _parameters(model: Contestant) -> float:
    """Weights, batch norm's averages among them, counted in the checkpoint."""
    import tensorflow as tf

    if model.kind == "TFLite" and not ExportFolder(model.folder).is_export:
        return math.nan
    reader = tf.train.load_checkpoint(str(_checkpoint(model)))
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if types[name].is_floating and name.startswith("model/") and ".OPTIMIZER_SLOT" not in name
    )


def _bytes(model: Contestant) -> int:
    if model.kind == "TFLite":
        return model.path.stat().st_size
    if model.kind == "SavedModel":
        return ExportFolder(model.path).saved_model_bytes()
    prefix = _checkpoint(model)
    return sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.*"))


def plot(table: pd.DataFrame) -> Figure:
    """AP50 over the time for a picture, a mark a model."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for row in table.itertuples():
        mark = MARKS[row.kind]
        axes.plot(
            row.ms, row.AP50, mark, markersize=10, alpha=0.7, label=f"{row.model}, {row.kind}"
        )
    axes.set(
        title="Speed and accuracy",
        xlabel="ms a picture, on this machine",
        ylabel="AP50",
        xlim=(0, 1.1 * table["ms"].max()),
        ylim=(0, 1.02),
    )
    axes.grid(alpha=0.3)
    # Names beside marks would lie on each other: exports of one run are equally good.
    figure.legend(loc="outside right upper")
    return figure


def write_comparison(table: pd.DataFrame, output: Path) -> None:
    """Writes table and plot into a folder, which appears when complete."""
    with replacing_folder(output) as folder:
        table.to_csv(folder / TABLE, index=False, float_format="%.6g")
        plot(table).savefig(folder / PLOT, dpi=120)


def shown(table: pd.DataFrame) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The table as two narrow ones for the terminal: what a model is, and how good it is."""
    forms = {
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
        ["model", "AP", "AP50", "correct", "false", "threshold"],
    ):
        rows = [
            [
                "-" if pd.isna(value) else forms.get(name, "{}").format(value)
                for name, value in row.items()
            ]
            for row in table[columns].to_dict("records")
        ]
        yield columns, rows
