"""Tests `training.input`: images and targets equal upstream's, the seed determines the order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tfod.dataset.records import read_records
from tfod.model.checkpoint import build_variables
from tfod.model.pipeline import Options, configure, read_pipeline
from tfod.training.class_balance import balanced_epoch
from tfod.training.input import training_batches, validation_batches
from tfod.training.settings import RunSettings
from tfod.upstream.internals import TARGETS

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def pipeline(data, tiny_template):
    return configure(tiny_template, data, Options(steps=13, batch_size=4))


@pytest.fixture(scope="module")
def model(pipeline):
    from object_detection.builders import model_builder

    model = model_builder.build(pipeline.model, is_training=True, add_summaries=False)
    build_variables(model)
    return model


def arrays(batch) -> dict[str, np.ndarray]:
    """Returns features and labels by name."""
    features, labels = batch
    return {name: value.numpy() for name, value in {**features, **labels}.items()}


def assert_equal(batches, expected_batches) -> None:
    for batch, expected in zip(batches, expected_batches, strict=True):
        assert batch.keys() == expected.keys()
        for name, value in batch.items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_seed_determines_the_batches_and_a_run_can_start_at_any_step(pipeline, model):
    whole = list(map(arrays, training_batches(pipeline, model, seed=5)))
    assert len(whole) == 13
    assert_equal(whole, map(arrays, training_batches(pipeline, model, seed=5)))
    assert_equal(whole[7:], map(arrays, training_batches(pipeline, model, seed=5, first_step=7)))
    other = arrays(next(iter(training_batches(pipeline, model, seed=6))))
    assert not np.array_equal(other["image"], whole[0]["image"])


def test_every_epoch_contains_each_image_once_in_a_new_order(pipeline, model, data):
    batches = list(map(arrays, training_batches(pipeline, model, seed=0)))
    hashes = [value for batch in batches for value in batch["hash"]]
    size = data.splits["train"].images
    epochs = [hashes[start : start + size] for start in (0, size, 2 * size)]
    assert len(epochs[-1]) == len(set(epochs[-1])) == size
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_balanced_epoch_repeats_images_of_rare_classes(data, tiny_template, model):
    classes = [
        {b.name for b in r.annotation.objects} for r in read_records(data.splits["train"].shards)
    ]
    expected = Counter(balanced_epoch(classes).tolist())
    size = expected.total()
    assert size > len(classes)
    pipeline = configure(tiny_template, data, Options(steps=2 * size, batch_size=1))
    hashes = [
        int(features["hash"][0])
        for features, _ in training_batches(pipeline, model, seed=0, balance=True)
    ]
    for epoch in (hashes[:size], hashes[size:]):
        assert sorted(Counter(epoch).values()) == sorted(expected.values())
    assert hashes[:size] != hashes[size:]


def test_targets_equal_upstreams_for_padded_boxes(pipeline, model):
    for labels in [labels for _, labels in training_batches(pipeline, model, seed=1)][:4]:
        names = ("groundtruth_boxes", "groundtruth_classes", "groundtruth_weights")
        boxes, classes, weights = (list(labels[name]) for name in names)
        assert boxes[0].shape == (100, 4)
        upstream = model._assign_targets(boxes, classes, None, weights, None)
        for name, expected in zip(TARGETS, upstream, strict=True):
            actual = np.broadcast_to(labels[name].numpy(), expected.shape)
            np.testing.assert_array_equal(actual, expected, err_msg=name)


def test_losses_are_bit_identical_to_upstreams(pipeline):
    import tensorflow as tf
    from object_detection import model_lib_v2

    from tfod.training.learner import Learner

    learner = Learner(pipeline, RunSettings())
    features, labels = next(iter(training_batches(pipeline, learner.model, seed=1)))
    actual = learner.evaluate(features, labels)[0]
    del learner.model._assign_targets  # restores upstream's method, which the learner replaced
    without_targets = {name: value for name, value in labels.items() if name not in TARGETS}

    @tf.function(autograph=False)
    def upstream_losses():
        unstacked = model_lib_v2.model_lib.unstack_batch(
            without_targets, unpad_groundtruth_tensors=False
        )
        return model_lib_v2._compute_losses_and_predictions_dicts(
            learner.model, features, unstacked
        )[0]

    expected = upstream_losses()
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        # TensorFlow may add up the losses in another order.
        tolerance = 1e-6 if name == "Loss/total_loss" else 0
        assert float(actual[name]) == pytest.approx(float(value), rel=tolerance, abs=0), name


def test_augmentation_equals_upstreams(data, tiny_template):
    """Without augmentation, images equal those of `inputs.train_input`. A flip mirrors image and
    boxes."""
    from object_detection import inputs
    from object_detection.builders import model_builder

    size = data.splits["train"].images
    pipeline = configure(tiny_template, data, Options(steps=size, batch_size=1))
    del pipeline.train_config.data_augmentation_options[:]
    model = model_builder.build(pipeline.model, is_training=True, add_summaries=False)
    build_variables(model)
    plain = {
        key: (image, boxes)
        for batch in map(arrays, training_batches(pipeline, model, seed=0))
        for key, image, boxes in zip(
            batch["hash"], batch["image"], batch["groundtruth_boxes"], strict=True
        )
    }
    pipeline.train_input_reader.shuffle = False
    pipeline.train_input_reader.num_epochs = 1
    upstream = inputs.train_input(
        pipeline.train_config, pipeline.train_input_reader, pipeline.model, model=model
    )
    compared = 0
    for batch in map(arrays, upstream):
        for key, image, boxes in zip(
            batch["hash"], batch["image"], batch["groundtruth_boxes"], strict=True
        ):
            np.testing.assert_array_equal(plain[key][0], image)
            np.testing.assert_array_equal(plain[key][1], boxes)
            compared += 1
    assert compared == len(plain) == size

    flipped = read_pipeline(tiny_template)
    flipped.CopyFrom(pipeline)
    flip = flipped.train_config.data_augmentation_options.add().random_horizontal_flip
    flip.probability = 1
    for batch in map(arrays, training_batches(flipped, model, seed=0)):
        for key, image, boxes, count in zip(
            *(batch[n] for n in ("hash", "image", "groundtruth_boxes", "num_groundtruth_boxes")),
            strict=True,
        ):
            # Resizing is not symmetric, so the mirrored images are not bit-identical.
            to_mirrored, to_original = (
                np.abs(image - other).mean() for other in (plain[key][0][:, ::-1], plain[key][0])
            )
            assert to_mirrored < to_original / 2
            ymin, xmin, ymax, xmax = plain[key][1][:count].T
            np.testing.assert_allclose(boxes[:count].T, [ymin, 1 - xmax, ymax, 1 - xmin], atol=1e-6)


def test_validation_batches_are_ordered_not_augmented_and_full(pipeline, model, data):
    batches = list(map(arrays, validation_batches(pipeline, model)))
    assert len(batches) == 1  # 4 images in batches of 4
    pipeline.train_config.batch_size, before = 3, pipeline.train_config.batch_size
    try:
        filled = list(map(arrays, validation_batches(pipeline, model)))
    finally:
        pipeline.train_config.batch_size = before
    images = np.concatenate([batch["image"] for batch in filled])
    assert images.shape[0] == 6
    np.testing.assert_array_equal(images[:4], batches[0]["image"])
    np.testing.assert_array_equal(images[4:], batches[0]["image"][:2])
