"""COCO metrics of detections whose score a person can work out."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.hand_made_detections import CAT, CLASSES, DOG, found, truth
from tfod.annotation import Annotation, Box
from tfod.detection.detections import Detections
from tfod.errors import UserError
from tfod.evaluation.counts import best_count, count, curve
from tfod.evaluation.metrics import COCO_NAMES, Metrics, evaluate


def metrics_of(truths, detections, classes) -> Metrics:
    return evaluate(truths, detections, classes)[0]


def test_perfect_detections_score_one():
    metrics = metrics_of(
        [truth(CAT, DOG), truth()],
        [found(("cat", 0.9, 10, 20, 50, 80), ("dog", 0.8, 100, 10, 110, 30)), found()],
        CLASSES.values(),
    )
    assert list(metrics.coco) == list(COCO_NAMES)
    for name in ("AP", "AP50", "AR_100", "AP_small", "AP_medium"):
        assert metrics.coco[name] == pytest.approx(1)
    assert metrics.coco["AP_large"] is None  # no object that size: not a zero
    for name in ("cat", "dog"):
        perfect = dict.fromkeys(("AP", "AP50", "VOC_AP50", "precision", "recall", "f1"), 1)
        of_class = dict(metrics.per_class[name])
        assert 0 < of_class.pop("threshold") < 0.9
        assert of_class == pytest.approx(perfect)
    assert (metrics.images, metrics.objects, metrics.voc_ap50) == (2, 2, 1)
    assert (metrics.identified, metrics.missed, metrics.false) == (2, 0, 0)


def test_a_box_at_iou_0_6_counts_at_three_of_ten_thresholds():
    # 40 x 60 moved right by 9: overlap 31, union 49, IoU 0.63, so at 0.50, 0.55 and 0.60.
    metrics = metrics_of([truth(CAT)], [found(("cat", 0.9, 19, 20, 59, 80))], CLASSES.values())
    assert metrics.per_class["cat"]["AP50"] == pytest.approx(1)
    assert metrics.per_class["cat"]["AP"] == pytest.approx(0.3, abs=1e-6)
    assert metrics.per_class["dog"]["AP"] is None
    assert metrics.coco["AP75"] == 0


def test_a_false_box_above_the_true_one_halves_precision():
    metrics = metrics_of(
        [truth(CAT)],
        [found(("cat", 0.9, 150, 20, 190, 80), ("cat", 0.8, 10, 20, 50, 80))],
        CLASSES.values(),
    )
    assert metrics.coco["AP50"] == pytest.approx(0.5)


def test_right_box_of_the_wrong_class_scores_nothing():
    metrics = metrics_of([truth(CAT)], [found(("dog", 0.9, 10, 20, 50, 80))], CLASSES.values())
    assert metrics.coco["AP50"] == 0


def test_nothing_found_is_zero_and_no_objects_is_none():
    assert metrics_of([truth(CAT)], [found()], CLASSES.values()).coco["AP"] == 0
    assert metrics_of([truth()], [found()], CLASSES.values()).coco["AP"] is None


def test_classes_match_by_name_whatever_their_ids():
    other_order = metrics_of(
        [truth(CAT)], [found(("cat", 0.9, 10, 20, 50, 80))], ["ant", "bee", "cat"]
    )
    assert other_order.per_class["cat"]["AP"] == pytest.approx(1)


def test_a_class_the_data_does_not_have_is_one_line():
    with pytest.raises(UserError, match="does not have: dog"):
        metrics_of([truth(CAT)], [found(("dog", 0.9, 1, 1, 5, 5))], ["cat"])


def test_metrics_file_is_plain_json(tmp_path):
    metrics = metrics_of([truth(CAT)], [found()], CLASSES.values())
    metrics.write(tmp_path / "metrics.json")
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["coco"]["AP50"] == 0 and content["per_class"]["dog"]["AP"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_crowd_need_not_be_found_and_hides_what_is_found_in_it():
    crowd = Box("cat", 100, 0, 200, 100, crowd=True)
    in_crowd = [("cat", 0.95, 110 + 20 * n, 10, 125 + 20 * n, 60) for n in range(4)]
    metrics = metrics_of(
        [truth(CAT, crowd)], [found(("cat", 0.9, 10, 20, 50, 80), *in_crowd)], CLASSES.values()
    )
    for name in ("AP", "AP50", "VOC_AP50", "precision"):
        assert metrics.per_class["cat"][name] == pytest.approx(1), name
    assert (metrics.objects, metrics.identified, metrics.false) == (1, 1, 0)


def test_difficult_objects_are_left_out_by_voc_and_counted_by_coco():
    hard = Box("cat", 100, 0, 200, 100, difficult=True)
    metrics = metrics_of(
        [truth(CAT, hard)], [found(("cat", 0.9, 10, 20, 50, 80))], CLASSES.values()
    )
    assert metrics.voc_ap50 == pytest.approx(1)
    assert metrics.coco["AP50"] == pytest.approx(51 / 101)  # recall ends at a half
    assert (metrics.objects, metrics.identified, metrics.missed) == (2, 1, 1)


def test_counts_at_a_threshold_and_at_the_best_one():
    rows = (
        ("cat", 0.9, 10, 20, 50, 80),  # the cat
        ("cat", 0.8, 12, 20, 50, 80),  # the cat once more
        ("dog", 0.7, 100, 10, 110, 30),  # the dog
        ("cat", 0.3, 150, 50, 170, 70),  # nothing
        ("dog", 0.2, 10, 20, 50, 80),  # the cat, called a dog
    )
    truths, detections = [truth(CAT, DOG), truth()], [found(*rows), found()]
    metrics, matching = evaluate(truths, detections, CLASSES.values())
    assert (metrics.identified, metrics.missed, metrics.false) == (2, 0, 1)
    assert metrics.threshold == pytest.approx(0.5)  # between 0.7 and 0.3
    at = count(matching, 0.85)
    assert (at.objects, at.identified, at.missed, at.false) == (2, 1, 1, 0)
    assert (at.precision, at.recall) == (1, 0.5)
    dogs = count(matching, 0.1, "dog")
    assert (dogs.objects, dogs.identified, dogs.false) == (1, 1, 1)
    table = curve(matching)
    assert table["threshold"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.3, 0.2])
    assert table["identified"].tolist() == [1, 1, 2, 2, 2]
    assert table["false"].tolist() == [0, 1, 1, 2, 3]
    fixed, _ = evaluate(truths, detections, CLASSES.values(), threshold=0.85)
    assert (fixed.threshold, fixed.identified, fixed.false) == (0.85, 1, 0)


def test_a_class_never_seen_no_detections_and_an_empty_split():
    nothing, matching = evaluate([truth(CAT)], [found()], CLASSES.values())
    assert nothing.per_class["dog"]["VOC_AP50"] is nothing.per_class["dog"]["f1"] is None
    assert (nothing.identified, nothing.missed, nothing.false, nothing.voc_ap50) == (0, 1, 0, 0)
    assert curve(matching).empty and best_count(matching) is None
    empty, _ = evaluate([], [], CLASSES.values())
    assert empty.coco["AP"] is empty.voc_ap50 is None
    assert (empty.images, empty.objects, empty.false) == (0, 0, 0)
    only_false, matching = evaluate([truth()], [found(("cat", 0.9, 1, 1, 9, 9))], CLASSES.values())
    assert (only_false.objects, only_false.false) == (0, 1)
    assert count(matching, 0.5).recall is None


def boxes(draw, most: int) -> np.ndarray:
    """Up to `most` boxes, xmin, ymin, xmax, ymax in a 200 x 100 picture, many overlapping."""
    corners = st.tuples(*(st.integers(0, 12) for _ in range(2)))
    sizes = st.tuples(*(st.integers(1, 6) for _ in range(2)))
    rows = draw(st.lists(st.tuples(corners, sizes), max_size=most))
    return np.array(
        [[10 * x, 5 * y, 10 * (x + w), 5 * (y + h)] for (x, y), (w, h) in rows], float
    ).reshape(-1, 4)


@st.composite
def problems(draw) -> tuple[list[Annotation], list[Detections]]:
    """Pictures with ground truth and detections of two classes; scores differ."""
    truths, detections = [], []
    scores = iter(draw(st.permutations(range(1, 100))))
    for _ in range(draw(st.integers(1, 4))):
        names = st.sampled_from(("cat", "dog"))
        objects = [
            Box(draw(names), *map(int, box), crowd=draw(st.integers(0, 9)) == 9)
            for box in boxes(draw, 5)
        ]
        rows = [(draw(names), next(scores) / 100, *box) for box in boxes(draw, 7)]
        truths.append(truth(*objects))
        detections.append(found(*rows))
    return truths, detections


@settings(max_examples=200, deadline=None)
@given(problems())
def test_random_problems_equal_pycocotools_by_its_own_files(problem):
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
                for n, each in enumerate(truths)
                for k, box in enumerate(each.objects)
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
            for n, each in enumerate(detections)
            for class_id, score, (x1, y1, x2, y2) in zip(
                each.class_ids, each.scores, each.to_pixels_xyxy(200, 100).tolist(), strict=True
            )
        ]
        if not results:
            return  # pycocotools' loadRes cannot do without
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = metrics_of(truths, detections, CLASSES.values()).coco
    for name, theirs in zip(COCO_NAMES, evaluation.stats, strict=True):
        assert ours[name] == (None if theirs < 0 else pytest.approx(theirs, abs=1e-6)), name


def overlap(a, b) -> float:
    """IoU of two boxes."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    common = max(across, 0) * max(down, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


@settings(max_examples=200, deadline=None)
@example(([truth()], [found(("cat", 0.01, 0, 0, 10, 5))]), 1)
@given(problems(), st.integers(0, 100))
def test_counts_equal_a_matcher_written_out(problem, percent):
    """Best score first, each takes the free object of its class that it overlaps most."""
    truths, detections = problem
    threshold = np.float32(percent / 100)  # as scores are; NumPy 1 would compare in float64
    identified = false = objects = 0
    for each, found_here in zip(truths, detections, strict=True):
        free = [box for box in each.objects if not box.crowd]
        crowds = [box for box in each.objects if box.crowd]
        objects += len(free)
        corners = found_here.to_pixels_xyxy(200, 100).astype(float).tolist()
        for name, score, box in zip(found_here.names, found_here.scores, corners, strict=True):
            if score < threshold:
                continue
            of_class = [(overlap(box, o[1:5]), o) for o in map(astuple, free) if o[0] == name]
            best = max(of_class, key=lambda pair: pair[0], default=(0, None))
            if best[0] >= 0.5 - 1e-9:
                free = [box for box in free if astuple(box) != best[1]] + [
                    box for box in free if astuple(box) == best[1]
                ][1:]
                identified += 1
            elif not any(c.name == name and inside(box, c) >= 0.5 for c in crowds):
                false += 1
    matched = count(evaluate(truths, detections, CLASSES.values())[1], threshold)
    assert (matched.objects, matched.identified, matched.false) == (objects, identified, false)


def inside(box, crowd: Box) -> float:
    """How much of a box lies in a crowd: what COCO takes in place of IoU."""
    across = min(box[2], crowd.xmax) - max(box[0], crowd.xmin)
    down = min(box[3], crowd.ymax) - max(box[1], crowd.ymin)
    return max(across, 0) * max(down, 0) / ((box[2] - box[0]) * (box[3] - box[1]))
