"""Tests `evaluation.metrics` on hand-made detections and against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from object_detection.utils.object_detection_evaluation import ObjectDetectionEvaluation
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.hand_made_detections import CAT, CLASSES, DOG, detected, truth
from tfod.annotation import Annotation, Box
from tfod.detection.detections import Detections
from tfod.errors import UserError
from tfod.evaluation.coco_evaluation import COCO_NAMES
from tfod.evaluation.counts import best_count, count, curve
from tfod.evaluation.metrics import Metrics, evaluate


def metrics_of(truths, detections, classes) -> Metrics:
    return evaluate(truths, detections, classes)[0]


def test_perfect_detections_score_one():
    metrics = metrics_of(
        [truth(CAT, DOG), truth()],
        [detected(("cat", 0.9, 10, 20, 50, 80), ("dog", 0.8, 100, 10, 110, 30)), detected()],
        CLASSES.values(),
    )
    assert list(metrics.coco) == list(COCO_NAMES)
    for name in ("AP", "AP50", "AR_100", "AP_small", "AP_medium"):
        assert metrics.coco[name] == pytest.approx(1)
    assert metrics.coco["AP_large"] is None  # no object of this size, so not 0
    for name in ("cat", "dog"):
        perfect = dict.fromkeys(("AP", "AP50", "VOC_AP50", "precision", "recall", "f1"), 1)
        class_metrics = dict(metrics.per_class[name])
        assert 0 < class_metrics.pop("threshold") < 0.9
        assert class_metrics == pytest.approx(perfect)
    assert (metrics.images, metrics.objects, metrics.voc_ap50) == (2, 2, 1)
    assert (metrics.identified, metrics.missed, metrics.false) == (2, 0, 0)


def test_a_box_at_iou_0_63_counts_at_three_of_ten_iou_thresholds():
    # 40 x 60 moved right by 9: overlap 31, union 49, IoU 0.63. It matches at 0.50, 0.55 and 0.60.
    metrics = metrics_of([truth(CAT)], [detected(("cat", 0.9, 19, 20, 59, 80))], CLASSES.values())
    assert metrics.per_class["cat"]["AP50"] == pytest.approx(1)
    assert metrics.per_class["cat"]["AP"] == pytest.approx(0.3, abs=1e-6)
    assert metrics.per_class["dog"]["AP"] is None
    assert metrics.coco["AP75"] == 0


def test_a_false_detection_with_a_higher_score_halves_precision():
    metrics = metrics_of(
        [truth(CAT)],
        [detected(("cat", 0.9, 150, 20, 190, 80), ("cat", 0.8, 10, 20, 50, 80))],
        CLASSES.values(),
    )
    assert metrics.coco["AP50"] == pytest.approx(0.5)


def test_a_correct_box_of_the_wrong_class_has_ap_zero():
    metrics = metrics_of([truth(CAT)], [detected(("dog", 0.9, 10, 20, 50, 80))], CLASSES.values())
    assert metrics.coco["AP50"] == 0


def test_ap_is_zero_without_detections_and_none_without_objects():
    assert metrics_of([truth(CAT)], [detected()], CLASSES.values()).coco["AP"] == 0
    assert metrics_of([truth()], [detected()], CLASSES.values()).coco["AP"] is None


def test_classes_match_by_name_not_by_id():
    other_order = metrics_of(
        [truth(CAT)], [detected(("cat", 0.9, 10, 20, 50, 80))], ["ant", "bee", "cat"]
    )
    assert other_order.per_class["cat"]["AP"] == pytest.approx(1)


def test_a_class_that_is_not_in_the_data_set_is_an_error():
    with pytest.raises(UserError, match="not in the data set: dog"):
        metrics_of([truth(CAT)], [detected(("dog", 0.9, 1, 1, 5, 5))], ["cat"])


def test_metrics_file_is_json(tmp_path):
    metrics = metrics_of([truth(CAT)], [detected()], CLASSES.values())
    metrics.write(tmp_path / "metrics.json")
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["coco"]["AP50"] == 0 and content["per_class"]["dog"]["AP"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_crowds_are_not_objects_and_detections_in_them_are_ignored():
    crowd = Box("cat", 100, 0, 200, 100, crowd=True)
    in_crowd = [("cat", 0.95, 110 + 20 * n, 10, 125 + 20 * n, 60) for n in range(4)]
    metrics = metrics_of(
        [truth(CAT, crowd)], [detected(("cat", 0.9, 10, 20, 50, 80), *in_crowd)], CLASSES.values()
    )
    for name in ("AP", "AP50", "VOC_AP50", "precision"):
        assert metrics.per_class["cat"][name] == pytest.approx(1), name
    assert (metrics.objects, metrics.identified, metrics.false) == (1, 1, 0)


def test_voc_ignores_difficult_objects_and_coco_counts_them():
    hard = Box("cat", 100, 0, 200, 100, difficult=True)
    metrics = metrics_of(
        [truth(CAT, hard)], [detected(("cat", 0.9, 10, 20, 50, 80))], CLASSES.values()
    )
    assert metrics.voc_ap50 == pytest.approx(1)
    assert metrics.coco["AP50"] == pytest.approx(51 / 101)  # recall reaches 0.5
    assert (metrics.objects, metrics.identified, metrics.missed) == (2, 1, 1)


def test_counts_at_a_given_and_at_the_best_threshold():
    rows = (
        ("cat", 0.9, 10, 20, 50, 80),  # the cat
        ("cat", 0.8, 12, 20, 50, 80),  # the cat, a duplicate
        ("dog", 0.7, 100, 10, 110, 30),  # the dog
        ("cat", 0.3, 150, 50, 170, 70),  # background
        ("dog", 0.2, 10, 20, 50, 80),  # the cat as a dog
    )
    truths, detections = [truth(CAT, DOG), truth()], [detected(*rows), detected()]
    metrics, matching = evaluate(truths, detections, CLASSES.values())
    assert (metrics.identified, metrics.missed, metrics.false) == (2, 0, 1)
    assert metrics.threshold == pytest.approx(0.5)  # between 0.7 and 0.3
    counts = count(matching, 0.85)
    assert (counts.objects, counts.identified, counts.missed, counts.false) == (2, 1, 1, 0)
    assert (counts.precision, counts.recall) == (1, 0.5)
    dogs = count(matching, 0.1, "dog")
    assert (dogs.objects, dogs.identified, dogs.false) == (1, 1, 1)
    table = curve(matching)
    assert table["threshold"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.3, 0.2])
    assert table["identified"].tolist() == [1, 1, 2, 2, 2]
    assert table["false"].tolist() == [0, 1, 1, 2, 3]
    fixed, _ = evaluate(truths, detections, CLASSES.values(), threshold=0.85)
    assert (fixed.threshold, fixed.identified, fixed.false) == (0.85, 1, 0)


def test_a_class_without_objects_no_detections_and_an_empty_split():
    undetected, matching = evaluate([truth(CAT)], [detected()], CLASSES.values())
    assert undetected.per_class["dog"]["VOC_AP50"] is undetected.per_class["dog"]["f1"] is None
    assert (undetected.identified, undetected.missed, undetected.false) == (0, 1, 0)
    assert undetected.voc_ap50 == 0
    assert curve(matching).empty and best_count(matching) is None
    empty, _ = evaluate([], [], CLASSES.values())
    assert empty.coco["AP"] is empty.voc_ap50 is None
    assert (empty.images, empty.objects, empty.false) == (0, 0, 0)
    only_false, matching = evaluate(
        [truth()], [detected(("cat", 0.9, 1, 1, 9, 9))], CLASSES.values()
    )
    assert (only_false.objects, only_false.false) == (0, 1)
    assert count(matching, 0.5).recall is None


def boxes(draw, max_size: int) -> np.ndarray:
    """Draws boxes, xmin, ymin, xmax, ymax in a 200 x 100 image, many overlapping."""
    corners = st.tuples(*(st.integers(0, 12) for _ in range(2)))
    sizes = st.tuples(*(st.integers(1, 6) for _ in range(2)))
    rows = draw(st.lists(st.tuples(corners, sizes), max_size=max_size))
    return np.array(
        [[10 * x, 5 * y, 10 * (x + w), 5 * (y + h)] for (x, y), (w, h) in rows], float
    ).reshape(-1, 4)


@st.composite
def problems(draw) -> tuple[list[Annotation], list[Detections]]:
    """Draws images with ground truth and detections of two classes, all with different scores."""
    truths, detections = [], []
    scores = iter(draw(st.permutations(range(1, 100))))
    for _ in range(draw(st.integers(1, 4))):
        names = st.sampled_from(("cat", "dog"))
        objects = [
            Box(
                draw(names),
                *map(int, box),
                crowd=draw(st.integers(0, 9)) == 9,
                difficult=draw(st.integers(0, 9)) == 9,
            )
            for box in boxes(draw, 5)
        ]
        rows = [(draw(names), next(scores) / 100, *box) for box in boxes(draw, 7)]
        truths.append(truth(*objects))
        detections.append(detected(*rows))
    return truths, detections


@settings(max_examples=200, deadline=None)
@given(problems())
def test_random_detections_give_the_metrics_of_pycocotools(problem):
    truths, detections = problem
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": n, "width": 200, "height": 100} for n in range(len(truths))],
            "categories": [{"id": i, "name": name} for i, name in CLASSES.items()],
            "annotations": [
                {
                    "id": 10 * n + k + 1,
                    "image_id": n,
                    "category_id": 1 + (box.name == "dog"),
                    "bbox": [box.xmin, box.ymin, box.xmax - box.xmin, box.ymax - box.ymin],
                    "area": (box.xmax - box.xmin) * (box.ymax - box.ymin),
                    "iscrowd": int(box.crowd),
                }
                for n, annotation in enumerate(truths)
                for k, box in enumerate(annotation.objects)
            ],
        }
        coco.createIndex()
        results = [
            {
                "image_id": n,
                "category_id": int(class_id),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(score),
            }
            for n, in_image in enumerate(detections)
            for class_id, score, (x1, y1, x2, y2) in zip(
                in_image.class_ids,
                in_image.scores,
                in_image.to_pixels_xyxy(200, 100).tolist(),
                strict=True,
            )
        ]
        if not results:
            return  # pycocotools' loadRes fails on an empty list
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    actual = metrics_of(truths, detections, CLASSES.values()).coco
    for name, expected in zip(COCO_NAMES, evaluation.stats, strict=True):
        assert actual[name] == (None if expected < 0 else pytest.approx(expected, abs=1e-6)), name


def upstream_voc_ap50(truths, detections) -> dict[str, float]:
    """Returns the AP at IoU 0.5 by class of the OD API; NaN without objects."""
    evaluation = ObjectDetectionEvaluation(len(CLASSES), matching_iou_threshold=0.5)
    for number, (annotation, in_image) in enumerate(zip(truths, detections, strict=True)):
        objects = annotation.objects
        evaluation.add_single_ground_truth_image_info(
            number,
            np.array([box.corners for box in objects], float).reshape(-1, 4),
            np.array([list(CLASSES.values()).index(box.name) for box in objects], int),
            groundtruth_is_difficult_list=np.array([box.difficult for box in objects], bool),
            groundtruth_is_group_of_list=np.array([box.crowd for box in objects], bool),
        )
        evaluation.add_single_detected_image_info(
            number,
            in_image.to_pixels_xyxy(200, 100).astype(float),
            in_image.scores.astype(float),
            in_image.class_ids - 1,
        )
    result = evaluation.evaluate()
    return dict(zip(CLASSES.values(), result.average_precisions.tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(problems())
def test_random_detections_give_the_voc_ap_of_the_od_api(problem):
    truths, detections = problem
    actual = metrics_of(truths, detections, CLASSES.values()).per_class
    for name, expected in upstream_voc_ap50(truths, detections).items():
        value = actual[name]["VOC_AP50"]
        assert value == (None if np.isnan(expected) else pytest.approx(expected)), name


def box_iou(a, b) -> float:
    """Returns the IoU of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return intersection / (sum(areas) - intersection)


@settings(max_examples=200, deadline=None)
@example(([truth()], [detected(("cat", 0.01, 0, 0, 10, 5))]), 1)
@given(problems(), st.integers(0, 100))
def test_random_detections_give_the_counts_of_a_simple_matcher(problem, percent):
    """Each detection, by score, matches the unmatched object of its class with the highest IoU."""
    truths, detections = problem
    threshold = np.float32(percent / 100)  # like the scores; NumPy 1 would compare in float64
    identified = false = objects = 0
    for annotation, in_image in zip(truths, detections, strict=True):
        unmatched = [box for box in annotation.objects if not box.crowd]
        crowds = [box for box in annotation.objects if box.crowd]
        objects += len(unmatched)
        corners = in_image.to_pixels_xyxy(200, 100).astype(float).tolist()
        for name, score, box in zip(in_image.names, in_image.scores, corners, strict=True):
            if score < threshold:
                continue
            candidates = [
                (box_iou(box, o[1:5]), o) for o in map(astuple, unmatched) if o[0] == name
            ]
            best = max(candidates, key=lambda pair: pair[0], default=(0, None))
            if best[0] >= 0.5 - 1e-9:
                unmatched = [box for box in unmatched if astuple(box) != best[1]] + [
                    box for box in unmatched if astuple(box) == best[1]
                ][1:]
                identified += 1
            elif not any(c.name == name and fraction_inside(box, c) >= 0.5 for c in crowds):
                false += 1
    matched = count(evaluate(truths, detections, CLASSES.values())[1], threshold)
    assert (matched.objects, matched.identified, matched.false) == (objects, identified, false)


def fraction_inside(box, crowd: Box) -> float:
    """Returns the fraction of a box inside a crowd, which COCO uses instead of the IoU."""
    width = min(box[2], crowd.xmax) - max(box[0], crowd.xmin)
    height = min(box[3], crowd.ymax) - max(box[1], crowd.ymin)
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))
