"""The models that `tfod compare` compares: runs, exports, .tflite and .onnx files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfod.detection.tflite_file import read_tflite
from tfod.errors import UserError
from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import read_pipeline
from tfod.model.run_folder import RunFolder

RUN, SAVED_MODEL, TFLITE, ONNX = "run", "SavedModel", "TFLite", "ONNX"
FILES = {".tflite": TFLITE, ".onnx": ONNX}


@dataclass(frozen=True)
class Candidate:
    """A model to compare.

    Attributes:
      path: as `Detector.load` accepts it.
      kind: run, SavedModel, TFLite or ONNX.
    """

    path: Path
    kind: str

    @property
    def is_file(self) -> bool:
        return self.kind in FILES.values()

    @property
    def name(self) -> str:
        if self.is_file:
            return f"{self.path.parent.name}/{self.path.name}"
        return self.path.name

    @property
    def folder(self) -> Path:
        return self.path.parent if self.is_file else self.path


def find_candidates(paths: Iterable[Path]) -> list[Candidate]:
    """Returns the models at these paths.

    A run folder gives its best checkpoint, an export folder its SavedModel and all `.tflite` and
    `.onnx` files.

    Raises:
      UserError: a path contains no model.
    """
    candidates = []
    for path in paths:
        if path.suffix in FILES and path.is_file():
            candidates.append(Candidate(path, FILES[path.suffix]))
        elif ExportFolder(path).is_export:
            candidates.append(Candidate(path, SAVED_MODEL))
            for suffix, kind in FILES.items():
                candidates += [Candidate(file, kind) for file in sorted(path.glob(f"*{suffix}"))]
        elif RunFolder(path).is_run:
            candidates.append(Candidate(path, RUN))
        else:
            raise UserError(
                path,
                "does not contain a model",
                "Give run folders, export folders, .tflite and .onnx files",
            )
    return candidates


def describe_input(candidate: Candidate) -> str:
    """Returns the input size: width x height, or the range of edges in the pipeline.config.

    A `.onnx` alone resizes images itself, to a size that only its network knows: "any".
    """
    from object_detection.utils import config_util

    run = RunFolder(candidate.folder)
    if candidate.kind == RUN and (size := run.detection_size()):
        return f"{size} x {size}"
    config = run.config
    if candidate.is_file and not config.is_file():
        if candidate.kind == ONNX:
            return "any"
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


def count_parameters(candidate: Candidate) -> float:
    """Counts the weights in the checkpoint, including the moving averages of batch norm."""
    import tensorflow as tf

    if candidate.is_file and not ExportFolder(candidate.folder).is_export:
        return math.nan
    reader = tf.train.load_checkpoint(str(_checkpoint(candidate)))
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if types[name].is_floating and name.startswith("model/") and ".OPTIMIZER_SLOT" not in name
    )


def count_bytes(candidate: Candidate) -> int:
    """Returns the size of the file or of the folder that inference needs."""
    if candidate.is_file:
        return candidate.path.stat().st_size
    if candidate.kind == SAVED_MODEL:
        return ExportFolder(candidate.path).saved_model_bytes()
    prefix = _checkpoint(candidate)
    return sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.*"))
