"""COCO metrics of detections whose score a person can work out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tfod.annotation import Annotation, Box
from tfod.detections import Detections, detections_from_outputs
from tfod.errors import UserError
from tfod.evaluation import COCO_NAMES, coco_metrics

CLASSES = {1: "cat", 2: "dog"}


def truth(*boxes: Box) -> Annotation:
    return Annotation(Path("a.xml"), Path("a.jpg"), 200, 100, boxes)


def found(*rows: tuple[str, float, float, float, float, float]) -> Detections:
    """Rows of name, score, xmin, ymin, xmax, ymax in pixels of a 200 x 100 picture."""
    ids = {name: class_id for class_id, name in CLASSES.items()}
    return detections_from_outputs(
        np.array([[y1 / 100, x1 / 200, y2 / 100, x2 / 200] for _, _, x1, y1, x2, y2 in rows])
        .reshape(-1, 4)
        .astype(np.float32),
        np.array([row[1] for row in rows], np.float32),
        np.array([ids[row[0]] for row in rows]),
        CLASSES,
    )


CAT = Box("cat", 10, 20, 50, 80)
DOG = Box("dog", 100, 10, 110, 30)


def test_perfect_detections_score_one():
    metrics = coco_metrics(
        [truth(CAT, DOG), truth()],
        [found(("cat", 0.9, 10, 20, 50, 80), ("dog", 0.8, 100, 10, 110, 30)), found()],
        CLASSES.values(),
    )
    assert list(metrics.coco) == list(COCO_NAMES)
    for name in ("AP", "AP50", "AR_100", "AP_small", "AP_medium"):
        assert metrics.coco[name] == pytest.approx(1)
    assert metrics.coco["AP_large"] is None  # no object that size: not a zero
    for name in ("cat", "dog"):
        assert metrics.per_class[name] == pytest.approx({"AP": 1, "AP50": 1})
    assert (metrics.images, metrics.objects) == (2, 2)


def test_a_box_at_iou_0_6_counts_at_three_of_ten_thresholds():
    # 40 x 60 moved right by 9: overlap 31, union 49, IoU 0.63, so at 0.50, 0.55 and 0.60.
    metrics = coco_metrics([truth(CAT)], [found(("cat", 0.9, 19, 20, 59, 80))], CLASSES.values())
    assert metrics.per_class["cat"]["AP50"] == pytest.approx(1)
    assert metrics.per_class["cat"]["AP"] == pytest.approx(0.3, abs=1e-6)
    assert metrics.per_class["dog"]["AP"] is None
    assert metrics.coco["AP75"] == 0


def test_a_false_box_above_the_true_one_halves_precision():
    metrics = coco_metrics(
        [truth(CAT)],
        [found(("cat", 0.9, 150, 20, 190, 80), ("cat", 0.8, 10, 20, 50, 80))],
        CLASSES.values(),
    )
    assert metrics.coco["AP50"] == pytest.approx(0.5)


def test_right_box_of_the_wrong_class_scores_nothing():
    metrics = coco_metrics([truth(CAT)], [found(("dog", 0.9, 10, 20, 50, 80))], CLASSES.values())
    assert metrics.coco["AP50"] == 0


def test_nothing_found_is_zero_and_no_objects_is_none():
    assert coco_metrics([truth(CAT)], [found()], CLASSES.values()).coco["AP"] == 0
    assert coco_metrics([truth()], [found()], CLASSES.values()).coco["AP"] is None


def test_classes_match_by_name_whatever_their_ids():
    other_order = coco_metrics(
        [truth(CAT)], [found(("cat", 0.9, 10, 20, 50, 80))], ["ant", "bee", "cat"]
    )
    assert other_order.per_class["cat"]["AP"] == pytest.approx(1)


def test_a_class_the_data_does_not_have_is_one_line():
    with pytest.raises(UserError, match="does not have: dog"):
        coco_metrics([truth(CAT)], [found(("dog", 0.9, 1, 1, 5, 5))], ["cat"])


def test_metrics_file_is_plain_json(tmp_path):
    metrics = coco_metrics([truth(CAT)], [found()], CLASSES.values())
    metrics.write(tmp_path / "metrics.json")
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["coco"]["AP50"] == 0 and content["per_class"]["dog"]["AP"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_crowd_need_not_be_found_and_hides_what_is_found_in_it():
    crowd = Box("cat", 100, 0, 200, 100, crowd=True)
    in_crowd = [("cat", 0.95, 110 + 20 * n, 10, 125 + 20 * n, 60) for n in range(4)]
    metrics = coco_metrics(
        [truth(CAT, crowd)], [found(("cat", 0.9, 10, 20, 50, 80), *in_crowd)], CLASSES.values()
    )
    assert metrics.per_class["cat"] == pytest.approx({"AP": 1, "AP50": 1})
    assert metrics.objects == 1
