"""Ground truth + detections -> COCO metrics, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tfod.annotation import Annotation
from tfod.detections import Detections
from tfod.errors import UserError
from tfod.images import load_rgb
from tfod.records import Record

# In the order of pycocotools' COCOeval.stats.
COCO_NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip


@dataclass(frozen=True)
class Metrics:
    """COCO detection metrics of a split.

    Attributes:
      coco: the twelve numbers by name (`COCO_NAMES`), in [0, 1]; None where the split has no
        object of that size.
      per_class: class name to its AP (mean over IoU 0.50:0.95) and AP50; None without objects.
      images, objects: how many were judged.
    """

    coco: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    images: int
    objects: int

    def write(self, path: Path) -> None:
        """Writes metrics.json, beside and then renamed."""
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def evaluate(
    predict: Callable[[np.ndarray], Detections], records: Iterable[Record], classes: Collection[str]
) -> Metrics:
    """Runs a detector over the pictures of a split and judges what it finds.

    Args:
      predict: uint8 `[H, W, 3]` RGB to detections, such as `Detector.predict`.
      records: pictures with ground truth, as `records.read_records` yields them.
      classes: class names of the data set.

    Raises:
      UserError: the detector reports a class that the data set does not have.
    """
    truths, found = [], []
    for record in records:
        found.append(predict(load_rgb(record.image.data)))
        truths.append(record.annotation)
    return coco_metrics(truths, found, classes)


def coco_metrics(
    truths: Sequence[Annotation], found: Sequence[Detections], classes: Collection[str]
) -> Metrics:
    """COCO's twelve numbers and AP per class (pycocotools `COCOeval`, IoU type `bbox`).

    Areas, which tell small, medium and large objects apart, are in pixels of the picture as it
    is, not as the model sees it. Classes are matched by name.

    Args:
      truths: ground truth, a picture each; `difficult` objects count like any other, as in the
        OD API's evaluation. A crowd need not be found, and what is found in it is not false.
      found: detections in the same pictures, in the same order.
      classes: class names of the data set.

    Raises:
      UserError: a detection is of a class that is not among `classes`.
    """
    from pycocotools.cocoeval import COCOeval

    ids = {name: class_id for class_id, name in enumerate(classes, 1)}
    unknown = {name for detections in found for name in detections.names} - set(ids)
    if unknown:
        raise UserError(
            "model",
            f"finds classes that the data set does not have: {', '.join(sorted(unknown))}",
            "Evaluate it on a data set with its own classes",
        )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = COCOeval(
            _coco(len(truths), ids, _truth_rows(truths)),
            _coco(len(truths), ids, _detection_rows(truths, found)),
            "bbox",
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # [IoU threshold, recall threshold, class, area range, detections a picture]; -1: no objects
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return Metrics(
        coco=dict(zip(COCO_NAMES, map(_known, evaluation.stats), strict=True)),
        per_class={
            name: {
                "AP": _known(precision[:, :, index].mean()),
                "AP50": _known(precision[0, :, index].mean()),
            }
            for index, name in enumerate(ids)
        },
        images=len(truths),
        objects=sum(not box.crowd for truth in truths for box in truth.objects),
    )


def _known(value: float) -> float | None:
    return float(value) if value >= 0 else None


# Picture number, class name, score, whether it is a crowd, (xmin, ymin, xmax, ymax) in pixels.
Row = tuple[int, str, float, bool, tuple[float, float, float, float]]


def _truth_rows(truths: Sequence[Annotation]) -> Iterator[Row]:
    for image, truth in enumerate(truths):
        for box in truth.objects:
            yield image, box.name, 1.0, box.crowd, (box.xmin, box.ymin, box.xmax, box.ymax)


def _detection_rows(truths: Sequence[Annotation], found: Sequence[Detections]) -> Iterator[Row]:
    for image, (truth, detections) in enumerate(zip(truths, found, strict=True)):
        corners = detections.to_pixels_xyxy(truth.width, truth.height).tolist()
        for name, score, box in zip(
            detections.names, detections.scores.tolist(), corners, strict=True
        ):
            yield image, name, score, False, tuple(box)


def _coco(images: int, ids: dict[str, int], rows: Iterable[Row]):
    """Boxes as pycocotools holds them. Not by its `loadRes`, which fails where nothing is found."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": class_id, "name": name} for name, class_id in ids.items()],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": ids[name],
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "area": (xmax - xmin) * (ymax - ymin),
                "iscrowd": int(crowd),
                "score": score,
            }
            for number, (image, name, score, crowd, (xmin, ymin, xmax, ymax)) in enumerate(rows, 1)
        ],
    }
    coco.createIndex()
    return coco
