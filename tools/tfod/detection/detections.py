"""The detections in one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.annotation import Annotation
from tfod.boxes import normalized_yxyx_to_pixel_xyxy, pixel_xyxy_to_normalized_yxyx

if TYPE_CHECKING:
    import supervision as sv


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects detected in one image, highest score first.

    Attributes:
      boxes: float32 `[N, 4]`: ymin, xmin, ymax, xmax, normalized to [0, 1].
      scores: float32 `[N]` in [0, 1].
      class_ids: int64 `[N]`, as in the label map (from 1).
      names: `N` class names.
      track_ids: int64 `[N]`, the number of each object in its video, from 1; None if objects are
        not tracked.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    names: tuple[str, ...]
    track_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Returns the detections with a score of at least `threshold`."""
        return self.rows(np.flatnonzero(self.scores >= threshold))

    def rows(self, indices: Sequence[int] | np.ndarray) -> Detections:
        """Returns the detections with these indices, in this order."""
        chosen = np.asarray(indices, np.int64)
        return Detections(
            self.boxes[chosen],
            self.scores[chosen],
            self.class_ids[chosen],
            tuple(self.names[index] for index in chosen),
            None if self.track_ids is None else self.track_ids[chosen],
        )

    def titles(self) -> list[str]:
        """Returns texts for people, such as "stop 97%", or "#3 stop 97%" for a tracked object."""
        titles = [
            f"{name} {score:.0%}" for name, score in zip(self.names, self.scores, strict=True)
        ]
        if self.track_ids is None:
            return titles
        return [f"#{track} {title}" for track, title in zip(self.track_ids, titles, strict=True)]

    def to_pixels_xyxy(self, width: int, height: int) -> np.ndarray:
        """Returns float32 `[N, 4]` xmin, ymin, xmax, ymax in pixels of an image of this size."""
        return normalized_yxyx_to_pixel_xyxy(self.boxes, width, height)

    def to_supervision(self, width: int, height: int) -> sv.Detections:
        """Returns `supervision.Detections` for an image of this size.

        The class names are in `data["class_name"]`, the track ids in `tracker_id`.
        """
        import supervision as sv

        return sv.Detections(
            xyxy=self.to_pixels_xyxy(width, height),
            confidence=self.scores,
            class_id=self.class_ids,
            tracker_id=self.track_ids,
            data={"class_name": np.array(self.names, dtype=object)},
        )


def detections_from_outputs(
    boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, labels: Mapping[int, str]
) -> Detections:
    """Sorts a model's outputs for one image, clips the boxes and adds class names.

    Args:
      boxes: `[N, 4]` ymin, xmin, ymax, xmax, normalized; may extend beyond the image.
      scores: `[N]`; rows with score 0 are padding and are dropped.
      class_ids: `[N]`, any dtype, as in the label map.
      labels: label map, id to name.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    ids = class_ids[order].astype(np.int64)
    return Detections(
        np.clip(boxes[order], 0, 1).astype(np.float32),
        scores[order].astype(np.float32),
        ids,
        tuple(labels.get(class_id, f"class {class_id}") for class_id in ids.tolist()),
    )


def detections_from_annotation(annotation: Annotation, labels: Mapping[int, str]) -> Detections:
    """Returns the ground truth of an image with scores of 1, to draw it like detections.

    Args:
      labels: label map, id to name, with all classes of the annotation.
    """
    ids = {name: class_id for class_id, name in labels.items()}
    objects = annotation.objects
    corners = np.array([box.corners for box in objects], np.float32).reshape(-1, 4)
    return detections_from_outputs(
        pixel_xyxy_to_normalized_yxyx(corners, annotation.width, annotation.height),
        np.ones(len(objects), np.float32),
        np.array([ids[box.name] for box in objects]),
        labels,
    )


def detections_in(outputs: dict[str, np.ndarray], labels: dict[int, str]) -> Detections:
    """Converts the raw outputs of one image (`Detector.predict(raw=True)`) to `Detections`."""
    count = int(outputs["num_detections"])
    return detections_from_outputs(
        outputs["detection_boxes"][:count],
        outputs["detection_scores"][:count],
        outputs["detection_classes"][:count],
        labels,
    )
