"""Finds annotations with which a trained detector disagrees: likely mistakes of the annotator.

Source of the kinds of mistakes: Tkachenko et al., "ObjectLab: automated diagnosis of mislabeled
images in object detection data", 2023. The scores are those of this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageOps

from tfod.annotation import Annotation
from tfod.beam import Cluster
from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.dataset.records import read_records
from tfod.detection.chances import chances
from tfod.detection.detections import Detections
from tfod.detection.detector import Detector
from tfod.detection.drawing import draw_detections
from tfod.detection.prediction import predict_records
from tfod.evaluation.error_analysis import iou
from tfod.images import load_rgb
from tfod.inspection.statistics import RecordFiles
from tfod.model.detection_file import DEFAULT_THRESHOLD
from tfod.progress import Progress, silent, tracked

MISSING, OTHER_CLASS, LOOSE, NOTHING = "missing box", "other class", "loose box", "nothing there"
TOUCHING = 0.1  # IoU from which a detection belongs to an object
SAME = 0.5  # IoU from which a detection is of the same object
SHOWN = 48
LEAST = 0.3  # suspicion that is kept
CROP = 3  # the drawn part of an image, in sides of the boxes
LEAST_CROP = 160  # pixels
DRAWN = 360  # pixels of its longer side


@dataclass(frozen=True)
class Suspicion:
    """An annotation with which a detector disagrees.

    Attributes:
      split: the name of its split.
      source_id: the path of the image, relative to the image folder.
      kind: `MISSING` where the detector finds an object without annotation; `OTHER_CLASS` and
        `LOOSE` where it finds another class or box; `NOTHING` where it finds no object.
      name: the annotated class; the detected one if the box is missing.
      box: xmin, ymin, xmax, ymax of the annotation in pixels; of the detection if it is missing.
      detected: class that the detector finds here; empty for none.
      detected_box: its box, in pixels; None for none.
      suspicion: in [0, 1], roughly the chance of a mistake.
    """

    split: str
    source_id: str
    kind: str
    name: str
    box: tuple[float, float, float, float]
    detected: str
    detected_box: tuple[float, float, float, float] | None
    suspicion: float

    @property
    def is_annotated(self) -> bool:
        return self.kind != MISSING


@dataclass(frozen=True)
class SuspiciousAnnotations:
    """The annotations with which a detector disagrees.

    Attributes:
      found: the most suspicious first.
      shown: the first of them, drawn: uint8 `[H, W, 3]` RGB each.
    """

    found: tuple[Suspicion, ...] = ()
    shown: tuple[np.ndarray, ...] = ()

    def images(self) -> list[str]:
        """Returns the paths of their images, relative to the image folder, each once."""
        return list(dict.fromkeys(item.source_id for item in self.found))


def find_suspicious(
    records: RecordFiles,
    detector: Detector,
    progress: Progress = silent,
    cluster: Cluster | None = None,
) -> SuspiciousAnnotations:
    """Compares all annotations of a data set with the detections of a model.

    The model may be trained on these annotations: it does not learn the mistakes if they are few
    and without a pattern.

    Args:
      progress: called as `progress("detect", done, total)`, and by `predict_records`.
      cluster: see `predict_records`.

    Raises:
      UserError: a record cannot be read; or the pipeline cannot run, see `beam_map`.
    """
    threshold = detector.threshold or DEFAULT_THRESHOLD
    found: list[Suspicion] = []
    objects: Counter[str] = Counter()
    detected: Counter[str] = Counter()
    split_of = {path: split for split, paths in records.splits.items() for path in paths}
    predictions = predict_records(detector, list(split_of), cluster, progress)
    for annotation, detections in tracked(predictions, progress, "detect", records.image_count):
        found += _in_image(split_of[annotation.source], annotation, detections, threshold)
        objects.update(box.name for box in annotation.objects)
        detected.update(detections.above(threshold).names)
    ranked = _ranked(found, objects, detected)
    return SuspiciousAnnotations(tuple(ranked), tuple(_drawn(records, ranked[:SHOWN])))


def warnings(suspicious: SuspiciousAnnotations) -> list[str]:
    """Returns a sentence on the annotations with the remedy, or nothing if there are none."""
    if not suspicious.found:
        return []
    count, images = len(suspicious.found), len(suspicious.images())
    annotations = "1 annotation is" if count == 1 else f"{count} annotations are"
    where = "1 image" if images == 1 else f"{images} images"
    return [
        f"{annotations} missing or suspicious, in {where}; see the page of --output, and correct "
        "them with: tfod label IMAGES --next OUTPUT"
    ]


def _drawn(records: RecordFiles, suspicions: Sequence[Suspicion]) -> list[np.ndarray]:
    """Returns the annotation and the detection of each suspicion, with the image around them."""
    wanted: dict[tuple[str, str], list[int]] = {}
    for index, item in enumerate(suspicions):
        wanted.setdefault((item.split, item.source_id), []).append(index)
    images: dict[int, np.ndarray] = {}
    for split, paths in records.splits.items():
        for record in read_records(paths):
            indices = wanted.get((split, record.annotation.source_id))
            if indices:
                pixels = load_rgb(record.image.data, rotate=False)
                images |= {index: _draw(pixels, suspicions[index]) for index in indices}
    return [images[index] for index in range(len(suspicions))]


def _draw(pixels: np.ndarray, item: Suspicion) -> np.ndarray:
    both = [item.box, item.detected_box or item.box]
    (left, top), (right, bottom) = np.min(both, axis=0)[:2], np.max(both, axis=0)[2:]
    x, y = (left + right) / 2, (top + bottom) / 2
    half = max(CROP * max(right - left, bottom - top), LEAST_CROP) / 2
    height, width = pixels.shape[:2]
    left, top = max(int(x - half), 0), max(int(y - half), 0)
    crop = pixels[top : min(int(y + half), height), left : min(int(x + half), width)]
    labels = []
    if item.is_annotated:
        labels.append((item.box, 1, "labeled"))
    if item.detected_box is not None:
        labels.append((item.detected_box, 2, "found"))
    boxes = np.array([box for box, _, _ in labels], np.float32) - [left, top, left, top]
    drawn = Detections(
        pixel_xyxy_to_normalized_yxyx(boxes, crop.shape[1], crop.shape[0]),
        np.ones(len(labels), np.float32),
        np.array([number for _, number, _ in labels]),
        tuple(text for _, _, text in labels),
    )
    large = ImageOps.contain(Image.fromarray(crop), (DRAWN, DRAWN))  # so that the text fits
    return draw_detections(np.asarray(large), drawn, with_scores=False)


def _ranked(
    found: Sequence[Suspicion], objects: Mapping[str, int], detected: Mapping[str, int]
) -> list[Suspicion]:
    """Orders the suspicions. If a detector disagrees with many, each says less.

    Args:
      objects, detected: numbers of annotated objects and of detections by class name.
    """

    def group(item: Suspicion) -> tuple[str, str, str]:
        """Returns what could be a weakness of the detector, such as stop taken for yield."""
        return item.kind, item.name, item.detected

    disagreements = Counter(group(item) for item in found if item.suspicion > 0.5)

    def weighted(item: Suspicion) -> Suspicion:
        total = objects if item.is_annotated else detected
        others = max(disagreements[group(item)] - 1, 0)
        certainty = 1 - min(others / max(total[item.name], 1), 1)
        certainty *= 0.5 if item.kind == NOTHING else 1
        return replace(item, suspicion=item.suspicion * certainty)

    kept = (item for item in map(weighted, found) if item.suspicion >= LEAST)
    return sorted(kept, key=lambda item: -item.suspicion)


def _in_image(
    split: str, annotation: Annotation, detections: Detections, threshold: float
) -> Iterator[Suspicion]:
    """Yields the suspicions in one image. Crowds and difficult objects are not compared."""
    chance = chances(detections.scores, threshold)
    boxes = detections.to_pixels_xyxy(annotation.width, annotation.height).astype(float)
    names = np.array(detections.names, object)
    corners = np.array([box.corners for box in annotation.objects], float).reshape(-1, 4)
    overlap = iou(boxes, corners)
    owner = overlap.argmax(axis=1) if len(corners) else np.zeros(len(boxes), int)
    best = overlap.max(axis=1) if len(corners) else np.zeros(len(boxes))

    def suspicion(kind: str, name: str, box: np.ndarray, index: int, value: float) -> Suspicion:
        detected, detected_box = "", None
        if index >= 0:
            detected, detected_box = str(names[index]), tuple(boxes[index].tolist())
        place = (split, annotation.source_id, kind, name, tuple(box.tolist()))
        return Suspicion(*place, detected, detected_box, value)

    for number, item in enumerate(annotation.objects):
        if item.crowd or item.difficult:
            continue
        mine = np.flatnonzero((owner == number) & (best >= TOUCHING))
        same = mine[names[mine] == item.name]
        other = mine[(names[mine] != item.name) & (best[mine] >= SAME)]
        confirmed = (chance[same] * (best[same] >= SAME)).max(initial=0)
        if len(other):
            index = other[chance[other].argmax()]
            value = float(chance[index] * (1 - confirmed))
            yield suspicion(OTHER_CLASS, item.name, corners[number], index, value)
        if len(same):
            index = same[chance[same].argmax()]
            value = float(chance[index] * (1 - best[index]))
            yield suspicion(LOOSE, item.name, corners[number], index, value)
        value = float(1 - chance[mine].max(initial=0))
        yield suspicion(NOTHING, item.name, corners[number], -1, value)
    reported = np.zeros((0, 4))
    for index in np.flatnonzero(best < TOUCHING):
        if iou(boxes[[index]], reported).max(initial=0) < TOUCHING:  # the highest score first
            reported = np.concatenate((reported, boxes[[index]]))
            yield suspicion(
                MISSING, str(names[index]), boxes[index], int(index), float(chance[index])
            )
