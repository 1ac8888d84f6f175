"""Starts a detector from an earlier one, and keeps what its heads learned about shared classes.

The OD API's fine-tune checkpoint type `detection` leaves the heads out, because their shapes depend
on the number of classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfod.dataset.label_map import LABEL_MAP, read_label_map
from tfod.model.build import build_model
from tfod.model.checkpoint import CHECKPOINT_FOLDERS, build_variables, restore_detector
from tfod.model.pipeline import CONFIG_NAME, architecture, read_pipeline

if TYPE_CHECKING:
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig


@dataclass(frozen=True)
class EarlierDetector:
    """A detector to start from.

    Attributes:
      folder: a run folder or an export folder.
      pipeline: its configuration.
      classes: its class names by id.
    """

    folder: Path
    pipeline: TrainEvalPipelineConfig
    classes: Mapping[int, str]


def find_earlier_detector(path: Path) -> EarlierDetector | None:
    """Returns the detector of a run folder, an export folder, or of a checkpoint in one of them.

    Returns:
      None if this is none of them. An archive of the model zoo has no label map.

    Raises:
      UserError: a file of the folder is damaged.
    """
    folder = path
    if not path.is_dir():
        if not (path.suffix == ".index" and path.is_file()) and not _index_of(path).is_file():
            return None  # such as the name of a zoo archive
        inside = path.parent.name in CHECKPOINT_FOLDERS
        folder = path.parent.parent if inside else path.parent
    config, label_map = folder / CONFIG_NAME, folder / LABEL_MAP
    if not (config.is_file() and label_map.is_file()):
        return None
    return EarlierDetector(folder, read_pipeline(config), read_label_map(label_map))


def _index_of(prefix: Path) -> Path:
    return prefix.parent / f"{prefix.name}.index"


def restore_shared_classes(
    model: DetectionModel,
    pipeline: TrainEvalPipelineConfig,
    classes: Mapping[int, str],
    earlier: EarlierDetector,
    prefix: Path,
) -> tuple[str, ...]:
    """Gives the heads of a model the weights that an earlier detector has for the same class names.

    Weights of new classes stay as they are. So do heads of another shape, such as those for another
    number of anchors.

    Args:
      model: of `pipeline`; its variables must exist, see `checkpoint.build_variables`.
      classes: its class names by id.
      prefix: a checkpoint of the earlier detector.

    Returns:
      The names of the classes whose weights were kept, in the order of `classes`.

    Raises:
      UserError: the checkpoint cannot be read.
    """
    old_count = architecture(earlier.pipeline).num_classes
    old_ids = {name: number for number, name in earlier.classes.items() if number <= old_count}
    shared = {new: old_ids[name] for new, name in classes.items() if name in old_ids}
    old_model = build_model(earlier.pipeline, is_training=True)
    build_variables(old_model)
    restore_detector(old_model, prefix, earlier.folder / CONFIG_NAME)
    if not shared or len(old_model.variables) != len(model.variables):
        return ()
    heads = _Heads(
        class_is_outer=pipeline.model.WhichOneof("model") == "faster_rcnn",
        classes=architecture(pipeline).num_classes,
        old_classes=old_count,
        shared=shared,
    )
    is_kept = True
    widths = _widths_per_class(model, pipeline)
    for variable, old, width in zip(model.variables, old_model.variables, widths, strict=True):
        value, old_value = variable.numpy(), old.numpy()
        if width:
            is_kept = heads.copy(value, old_value, width) and is_kept
            variable.assign(value)
        elif value.shape == old_value.shape:
            variable.assign(old_value)
    return tuple(classes[new] for new in shared) if is_kept else ()


@dataclass(frozen=True)
class _Heads:
    """How the last axis of a head's weights is divided into classes.

    Attributes:
      class_is_outer: whether all outputs of a class are together, as in Faster R-CNN's second
        stage, whose boxes have four coordinates per class. Otherwise all classes of an anchor are.
      classes, old_classes: their numbers, without the background, which not all models have.
      shared: class id to the id in the earlier detector.
    """

    class_is_outer: bool
    classes: int
    old_classes: int
    shared: Mapping[int, int]

    def copy(self, value: np.ndarray, old: np.ndarray, width: int) -> bool:
        """Copies the shared classes and the background from `old` to `value`.

        Args:
          width: the number of outputs per class.

        Returns:
          False if the arrays do not fit to each other. Nothing is copied then.
        """
        background = value.shape[-1] // width - self.classes
        if old.shape != (*value.shape[:-1], width * (self.old_classes + background)):
            return False
        new_slots, old_slots = self._by_class(value, width), self._by_class(old, width)
        new_slots[:background] = old_slots[:background]
        for new_id, old_id in self.shared.items():
            new_slots[background + new_id - 1] = old_slots[background + old_id - 1]
        return True

    def _by_class(self, array: np.ndarray, width: int) -> np.ndarray:
        """Returns a view of weights `[..., N]` as `[N / width, ..., width]`."""
        slots = array.shape[-1] // width
        inner = (slots, width) if self.class_is_outer else (width, slots)
        axis = -2 if self.class_is_outer else -1
        return np.moveaxis(array.reshape(*array.shape[:-1], *inner), axis, 0)


def _widths_per_class(model: DetectionModel, pipeline: TrainEvalPipelineConfig) -> list[int]:
    """Returns how many outputs each variable of a model has per class; 0 outside class heads."""
    wider = deepcopy(pipeline)
    architecture(wider).num_classes += 1
    other = build_model(wider, is_training=True)
    build_variables(other)
    return [
        int(wide.shape[-1] - variable.shape[-1]) if variable.shape.rank else 0
        for variable, wide in zip(model.variables, other.variables, strict=True)
    ]
