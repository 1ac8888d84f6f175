"""What a plan is based on: facts about the data set and about the machine."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfod.annotation import Annotation
from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.dataset.manifest import Dataset
from tfod.dataset.records import read_records
from tfod.errors import UserError
from tfod.evaluation.error_analysis import iou

ASSUMED_GPU_MEMORY = 12_000_000_000  # bytes
CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")
OVERLAP = 0.5  # IoU of two boxes that non-maximum suppression could confuse


@dataclass(frozen=True)
class DataFacts:
    """A fingerprint of the train split. Sides are those in the square image that the model gets.

    Attributes:
      images: their number.
      boxes: float32 `[N, 4]`: ymin, xmin, ymax, xmax, normalized.
      small_side: 5th percentile of the boxes' sides (square roots of the areas), in fractions of
        the image.
      most_objects: in one image.
      images_with: class name to the number of images with it.
      overlap_same, overlap_other: fractions of the objects that overlap another object, of the same
        class or of another one, with an IoU of at least `OVERLAP`.
    """

    images: int
    boxes: np.ndarray
    small_side: float
    most_objects: int
    images_with: Mapping[str, int]
    overlap_same: float
    overlap_other: float

    @property
    def imbalance(self) -> float:
        """The number of images with the most frequent class, divided by that of the rarest."""
        return max(self.images_with.values()) / min(self.images_with.values())


@dataclass(frozen=True)
class MachineFacts:
    """Attributes:
    gpus: number of GPUs that TensorFlow can use.
    cores: CPU cores this process may use.
    bfloat16: the CPU computes convolutions in bfloat16.
    memory: GB that a training may use: those of the smallest GPU, or of the machine without one.
    """

    gpus: int
    cores: int
    bfloat16: bool
    memory: float


def data_facts(data: Dataset) -> DataFacts:
    """Reads the annotations of the train split.

    Raises:
      UserError: the split is missing or contains no object.
    """
    if "train" not in data.splits or not data.splits["train"].objects:
        what = "has no objects to train on"
        raise UserError(data.folder, what, "Convert it with annotated images in the train split")
    annotations = [record.annotation for record in read_records(data.splits["train"].shards)]
    corners = [_normalized(annotation) for annotation in annotations]
    boxes = np.concatenate(corners)
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    same, other = np.sum(
        [_overlaps(box, note) for box, note in zip(corners, annotations, strict=True)], axis=0
    )
    counts = Counter(name for note in annotations for name in {box.name for box in note.objects})
    return DataFacts(
        images=len(annotations),
        boxes=boxes,
        small_side=float(np.percentile(np.sqrt(heights * widths), 5)),
        most_objects=max(map(len, corners)),
        images_with={name: counts[name] for name in data.classes.values() if counts[name]},
        overlap_same=same / len(boxes),
        overlap_other=other / len(boxes),
    )


def machine_facts() -> MachineFacts:
    """Looks at this machine. Starts TensorFlow, to find its GPUs."""
    import tensorflow as tf

    from tfod.training.precision import BFLOAT16, resolve_precision

    gpus = len(tf.config.list_physical_devices("GPU"))
    return MachineFacts(
        gpus=gpus,
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        bfloat16=resolve_precision("auto") == BFLOAT16,
        memory=(gpu_memory() if gpus else _memory()) / 1e9,
    )


def gpu_memory() -> int:
    """Returns the memory in bytes of the smallest GPU; if its driver does not say it, a low value.

    TensorFlow has no function for it, and may use only some of the GPUs.
    """
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, check=True, timeout=30)
        return min(int(line) for line in answer.stdout.splitlines()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):  # no driver, or "[N/A]"
        return ASSUMED_GPU_MEMORY


def _memory() -> int:
    """Returns the memory in bytes of the machine, or of the container that this process runs in."""
    import psutil

    memory = psutil.virtual_memory().total
    try:
        return min(memory, int(CONTAINER_MEMORY.read_text(encoding="ascii")))
    except (OSError, ValueError):  # not Linux, or without a limit
        return memory


def _normalized(annotation: Annotation) -> np.ndarray:
    """Returns the boxes of an image, float32 `[N, 4]`: ymin, xmin, ymax, xmax, normalized."""
    corners = np.array([box.corners for box in annotation.objects]).reshape(-1, 4)
    boxes = pixel_xyxy_to_normalized_yxyx(corners, annotation.width, annotation.height)
    return boxes.astype(np.float32)


def _overlaps(boxes: np.ndarray, annotation: Annotation) -> tuple[int, int]:
    """Counts the objects that overlap one of the same class, and one of another class."""
    names = np.array([box.name for box in annotation.objects])
    same = names[:, None] == names
    confused = iou(boxes, boxes) >= OVERLAP  # the same in either order of the coordinates
    np.fill_diagonal(confused, False)
    return int((confused & same).any(axis=1).sum()), int((confused & ~same).any(axis=1).sum())
