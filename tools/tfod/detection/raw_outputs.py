"""Turns the raw outputs of an SSD network into detections, without TensorFlow.

A `.tflite` of `tfod export --outputs raw` ends with the network, so that a GPU or another
accelerator can run all of it. This module does what `TFLite_Detection_PostProcess` does at the end
of the other files: it decodes boxes and suppresses those that overlap a better one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

ENCODINGS, SCORES = "box_encodings", "class_predictions"  # outputs of the network


@dataclass(frozen=True)
class PostProcessing:
    """The parameters of box decoding and non-maximum suppression.

    Attributes:
      anchors: float32 `[A, 4]`: center y, center x, height, width, normalized.
      scales: those of the box coder, for center y, center x, height and width.
      min_score: detections with a lower score are dropped.
      iou_threshold: a box that overlaps a better one by more than this IoU is dropped.
      max_detections: the number of detections with the highest scores to keep.
      within_classes: only boxes of the same class suppress each other. Otherwise each anchor counts
        with its best class only, and boxes of all classes do.
    """

    anchors: np.ndarray
    scales: tuple[float, float, float, float]
    min_score: float
    iou_threshold: float
    max_detections: int
    within_classes: bool

    def settings(self) -> dict[str, object]:
        """Returns everything but the anchors, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "anchors"}

    def detections(self, encodings: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Decodes and suppresses the boxes of one image.

        Source: `tensorflow/lite/kernels/detection_postprocess.cc`.

        Args:
          encodings: float32 `[1, A, 4]`, see `decode`.
          scores: float32 `[1, A, C]`, from 0 to 1, of the classes without the background.

        Returns:
          float32 `detection_boxes` `[1, N, 4]` (ymin, xmin, ymax, xmax, normalized),
          `detection_scores` `[1, N]`, highest first, `detection_classes` `[1, N]`, which count from
          0, and `num_detections` `[1]`. N is `max_detections`; the remaining rows are 0.
        """
        kept = np.flatnonzero(scores[0].max(axis=1) >= self.min_score)
        boxes, scores = self.decode(encodings[0], kept), scores[0, kept]
        if self.within_classes:
            found = [
                (index, class_id)
                for class_id in range(scores.shape[1])
                for index in self._suppress(boxes, scores[:, class_id])
            ]
        else:
            best = scores.max(axis=1) if len(scores) else np.zeros(0, np.float32)
            found = [(index, scores[index].argmax()) for index in self._suppress(boxes, best)]
        indices, classes = np.array(found, int).reshape(-1, 2).T
        order = np.argsort(-scores[indices, classes], kind="stable")[: self.max_detections]
        indices, classes, count = indices[order], classes[order], len(order)
        result = {
            "detection_boxes": np.zeros((1, self.max_detections, 4), np.float32),
            "detection_scores": np.zeros((1, self.max_detections), np.float32),
            "detection_classes": np.zeros((1, self.max_detections), np.float32),
            "num_detections": np.array([count], np.float32),
        }
        result["detection_boxes"][0, :count] = boxes[indices]
        result["detection_scores"][0, :count] = scores[indices, classes]
        result["detection_classes"][0, :count] = classes
        return result

    def decode(self, encodings: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Decodes boxes of the anchors with these indices.

        Source: `object_detection.box_coders.faster_rcnn_box_coder.FasterRcnnBoxCoder`.

        Args:
          encodings: float32 `[A, 4]`: distances of the center (y, x) from that of the anchor in
            units of the anchor's size, and the logarithms of the size (height, width) in these
            units, all multiplied by `scales`.

        Returns:
          float32 `[N, 4]`: ymin, xmin, ymax, xmax, normalized.
        """
        anchors = self.anchors[indices]
        codes = encodings[indices] / np.array(self.scales, np.float32)
        centers = codes[:, :2] * anchors[:, 2:] + anchors[:, :2]
        halves = np.exp(codes[:, 2:]) * anchors[:, 2:] / 2
        return np.concatenate([centers - halves, centers + halves], axis=1)

    def _suppress(self, boxes: np.ndarray, scores: np.ndarray) -> list[int]:
        """Returns the indices of the boxes that no better one overlaps too much, best first."""
        areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= self.min_score]
        kept: list[int] = []
        while len(order) and len(kept) < self.max_detections:
            best, order = order[0], order[1:]
            kept.append(int(best))
            sides = np.minimum(boxes[best, 2:], boxes[order, 2:])
            sides = sides - np.maximum(boxes[best, :2], boxes[order, :2])
            common = np.prod(np.maximum(sides, 0), axis=1)
            # Not as a quotient: a box without area has none.
            union = areas[best] + areas[order] - common
            order = order[common <= self.iou_threshold * union]
        return kept
