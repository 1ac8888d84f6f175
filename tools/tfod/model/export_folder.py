"""The layout of an export folder, which `tfod export` writes.

It is that of a model zoo archive, with more files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tfod.dataset.label_map import LABEL_MAP
from tfod.folder_kind import FolderKind
from tfod.model.detection_file import DETECTION_NAME
from tfod.model.pipeline import CONFIG_NAME
from tfod.model.run_folder import METRICS_NAME

FLOAT32 = "float32"
# An archive of the model zoo has a SavedModel, too, but no labels.
EXPORT = FolderKind(
    "an export",
    ("saved_model", "labels.txt"),
    (
        *("checkpoint", CONFIG_NAME, LABEL_MAP, METRICS_NAME, DETECTION_NAME),
        *("parity.csv", "operations.csv", "model.onnx", "model*.tflite", "model*_metrics.json"),
    ),
)


@dataclass(frozen=True)
class ExportFolder:
    """The paths in an export folder. The files may not exist.

    Attributes:
      path: the folder.
    """

    path: Path

    @property
    def saved_model(self) -> Path:
        return self.path / "saved_model"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint prefix."""
        return self.path / "checkpoint" / "ckpt-0"

    @property
    def config(self) -> Path:
        return self.path / CONFIG_NAME

    @property
    def label_map(self) -> Path:
        return self.path / LABEL_MAP

    @property
    def labels(self) -> Path:
        """Class names as text; line N is class id N."""
        return self.path / "labels.txt"

    @property
    def metrics(self) -> Path:
        """The metrics that `tfod evaluate` measured for the run, or for the SavedModel."""
        return self.path / METRICS_NAME

    @property
    def detection(self) -> Path:
        """`detection.json`: threshold and tiles of the run."""
        return self.path / DETECTION_NAME

    @property
    def parity(self) -> Path:
        """The table of `export.parity`, which compares the exports with the checkpoint."""
        return self.path / "parity.csv"

    @property
    def onnx(self) -> Path:
        return self.path / "model.onnx"

    @property
    def operations(self) -> Path:
        """The table of `export.tflite_operations`."""
        return self.path / "operations.csv"

    @property
    def is_export(self) -> bool:
        return self.saved_model.is_dir()

    def tflite(self, variant: str) -> Path:
        """Returns the file of a variant of `export.tflite_converter.VARIANTS`."""
        return self.path / ("model.tflite" if variant == FLOAT32 else f"model_{variant}.tflite")

    def saved_model_bytes(self) -> int:
        """Returns the size of the SavedModel on disk."""
        files = self.saved_model.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())
