"""Tests `planning.rules`: what is chosen from which facts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfod.model.anchors import generate_anchors, measure_fit, sample_boxes
from tfod.model.pipeline import read_pipeline
from tfod.model.templates import find_template
from tfod.planning import rules
from tfod.planning.facts import DataFacts, MachineFacts
from tfod.planning.rules import PHONE_TEMPLATE, SERVER_TEMPLATE, Wishes
from tfod.planning.targets import SERVER

SLOW = MachineFacts(gpus=0, cores=2, bfloat16=False, memory=8)
FAST = MachineFacts(gpus=0, cores=64, bfloat16=True, memory=128)
GPU = MachineFacts(gpus=1, cores=8, bfloat16=False, memory=64)
HOUR = Wishes(minutes=60)


def boxes(height: float, width: float) -> np.ndarray:
    """Returns 100 boxes of about this size at different places: ymin, xmin, ymax, xmax."""
    rng = np.random.default_rng(0)
    sides = np.float32([height, width]) * rng.uniform(0.9, 1.1, (100, 2)).astype(np.float32)
    corners = rng.uniform(0, 1 - sides).astype(np.float32)
    return np.concatenate([corners, corners + sides], axis=1)


FACTS = DataFacts(
    images=500,
    boxes=boxes(0.2, 0.2),
    small_side=0.1,
    most_objects=5,
    images_with={"stop": 300, "tram": 200},
    overlap_same=0.0,
    overlap_other=0.0,
)


@pytest.fixture
def pipeline():
    return read_pipeline(find_template(PHONE_TEMPLATE))


@pytest.mark.parametrize(
    ("machine", "target", "template"),
    [
        (SLOW, "phone", PHONE_TEMPLATE),
        (GPU, "phone", PHONE_TEMPLATE),
        (SLOW, SERVER, PHONE_TEMPLATE),
        (GPU, SERVER, SERVER_TEMPLATE),
    ],
)
def test_large_models_need_a_gpu_and_a_server(machine, target, template):
    assert rules.choose_template(machine, Wishes(60, target))[0] == template


@pytest.mark.parametrize(
    ("smallest", "machine", "minutes", "size"),
    [
        (0.3, FAST, 60, 320),  # large objects need no more
        (0.04, FAST, 60, 448),
        (0.01, FAST, 600, 640),  # never larger
        (0.04, SLOW, 10, 320),  # too few minutes for a larger input
        (0.04, SLOW, 60, 448),
        (0.04, SLOW, 600, 448),
        (0.01, GPU, 10, 640),
    ],
)
def test_small_objects_need_a_large_input_and_time(smallest, machine, minutes, size):
    facts = replace(FACTS, small_side=smallest)
    chosen, choice = rules.choose_size(facts, machine, Wishes(minutes))
    assert chosen == size
    assert choice.value == f"{size} x {size} pixels"
    assert ("--minutes" in choice.otherwise) == (machine is SLOW and minutes == 10)


def test_an_input_size_that_the_user_chose_is_kept():
    chosen, choice = rules.choose_size(FACTS, SLOW, Wishes(1, input_size=512))
    assert chosen == 512
    assert choice.because == "--input-size says so"


@pytest.mark.parametrize(
    ("size", "first", "value"),
    [(320, None, "at the same size"), (448, 320, "at 320 x 320 pixels, two thirds of them")],
)
def test_only_a_large_input_is_smaller_in_the_first_steps(size, first, value):
    chosen, choice = rules.choose_first_size(size)
    assert (chosen, choice.value) == (first, value)


def test_anchors_are_fitted_to_boxes_they_do_not_match(pipeline):
    facts = replace(FACTS, boxes=boxes(0.3, 0.03))
    pixels = sample_boxes(facts.boxes * 320)
    before = measure_fit(generate_anchors(pipeline), pixels)
    choice = rules.choose_anchors(pipeline, facts, 320)
    after = measure_fit(generate_anchors(pipeline), pixels)
    assert choice.value == "fitted to the boxes"
    assert after.recall > before.recall + 0.1
    assert f"{after.recall:.0%}" in choice.because


def test_anchors_that_match_are_kept(pipeline):
    before = read_pipeline(find_template(PHONE_TEMPLATE))
    assert rules.choose_anchors(pipeline, FACTS, 320).value == "those of the template"
    assert pipeline == before


@pytest.mark.parametrize(
    ("gpus", "memory", "size", "batch_size"),
    [
        (0, 8, 320, 16),
        (0, 8, 448, 8),  # 5.9 GB with 16 images
        (0, 24, 640, 16),
        (0, 4, 448, 4),
        (0, 2, 640, 4),  # the smallest, although it takes more
        (1, 12, 512, 16),
        (1, 15, 640, 8),
        (1, 24, 640, 16),
    ],
)
def test_batches_are_as_large_as_memory_allows(gpus, memory, size, batch_size):
    machine = MachineFacts(gpus=gpus, cores=8, bfloat16=False, memory=memory)
    chosen, choice = rules.choose_batch_size(machine, size, images=1e6)
    assert chosen == batch_size
    assert f"of {memory} GB of {'the GPU' if gpus else 'this machine'}" in choice.because


@pytest.mark.parametrize(
    ("images", "memory", "batch_size"),
    [(4800, 24, 16), (4799, 24, 8), (2400, 24, 8), (2399, 24, 4), (100, 24, 4), (4800, 5, 8)],
)
def test_a_short_run_has_smaller_batches_and_more_steps(images, memory, batch_size):
    machine = MachineFacts(gpus=0, cores=2, bfloat16=False, memory=memory)
    chosen, choice = rules.choose_batch_size(machine, 320, images)
    assert chosen == batch_size
    is_short = memory == 24 and batch_size < 16
    assert ("fewer than 300 steps" in choice.because) == is_short
    assert ("more --minutes" in choice.otherwise) == is_short


@pytest.mark.parametrize(
    ("images_with", "balance"),
    [({"a": 90}, False), ({"a": 90, "b": 31}, False), ({"a": 90, "b": 30}, True)],
)
def test_rare_classes_are_repeated(images_with, balance):
    assert rules.choose_balance(replace(FACTS, images_with=images_with))[0] == balance


@pytest.mark.parametrize(
    ("name", "flip"),
    [
        ("stop", True),
        ("copyright", True),  # "right" is a part of the word
        ("turn_left", False),
        ("Right arrow", False),
        ("7", False),
        ("b", False),
        ("licence plate", False),
    ],
)
def test_images_are_mirrored_unless_a_class_has_a_side(name, flip):
    facts = replace(FACTS, images_with={"tram": 20, name: 20})
    chosen, choice = rules.choose_flip(facts)
    assert chosen == flip
    assert flip or name in choice.because


def test_suppression_across_classes_only_if_objects_of_two_classes_do_not_overlap(pipeline):
    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    rules.choose_suppression(pipeline, FACTS)
    assert (suppression.use_class_agnostic_nms, suppression.max_total_detections) == (True, 100)
    crowded = replace(FACTS, overlap_other=0.02, overlap_same=0.1, most_objects=80)
    choice = rules.choose_suppression(pipeline, crowded)
    assert (suppression.use_class_agnostic_nms, suppression.max_total_detections) == (False, 160)
    assert suppression.iou_threshold == pytest.approx(0.7)
    assert "2.0%" in choice.because and "10.0%" in choice.because
