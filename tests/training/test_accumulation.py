"""Tests `tfod train --accumulate`: a step in parts equals one with the whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from helpers.checkpoints import variables
from tfod.cli import main
from tfod.errors import UserError
from tfod.model.pipeline import Options, configure
from tfod.training.checks import check_data
from tfod.training.input import training_batches
from tfod.training.learner import Learner
from tfod.training.settings import RunSettings

IMAGES = 4
STEPS = 2


def without_objects(labels: dict[str, tf.Tensor], image: int) -> dict[str, tf.Tensor]:
    """Removes the objects of an image from the targets of a batch."""
    cleared = {}
    for name in ("cls_targets", "reg_targets", "reg_weights"):
        values = labels[name].numpy()
        values[image] = 0
        cleared[name] = tf.constant(values)
    return {**labels, **cleared}


def trained(
    pipeline, settings: RunSettings, folder: Path
) -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
    """Returns the losses of two steps, and the checkpoint after them."""
    learner, losses = Learner(pipeline, settings), []
    for features, labels in training_batches(pipeline, learner.model, seed=1):
        step = learner.train(features, without_objects(labels, image=1))
        losses.append({name: float(loss) for name, loss in step.items()})
    assert learner.steps_done == STEPS
    return losses, variables(learner.checkpoint().write(folder / f"{settings.accumulate}_parts"))


@pytest.mark.long
@pytest.mark.parametrize("losses", ["template", pytest.param("tight", marks=pytest.mark.slow)])
def test_a_step_in_parts_equals_one_with_the_whole_batch(data, shallow_template, tmp_path, losses):
    """Each part is one image, and one of them has no objects, so their weights differ."""
    pipeline = configure(shallow_template, data, Options(batch_size=IMAGES, steps=STEPS))
    config = pipeline.train_config
    config.freeze_variables.append(r".*(BN|bn_|_bn|batchnorm|BatchNorm).*")
    config.gradient_clipping_by_norm = 1.0  # must apply to the sum, not to each part
    config.optimizer.use_moving_average = True
    whole, parts = (
        trained(pipeline, RunSettings(losses=losses, accumulate=count), tmp_path)
        for count in (1, IMAGES)
    )
    assert set(whole[0][0]) == {
        f"Loss/{name}_loss"
        for name in ("localization", "classification", "regularization", "total")
    }
    for step, expected in zip(parts[0], whole[0], strict=True):
        assert step == pytest.approx(expected, rel=1e-4)
    assert parts[1].keys() == whole[1].keys()  # a run can resume with another number of parts
    slots = [name for name in whole[1] if "/momentum/" in name]
    assert slots and all(whole[1][name].any() for name in slots)
    for name, expected in whole[1].items():
        tolerance = 1e-3 * np.abs(expected).max()
        np.testing.assert_allclose(parts[1][name], expected, rtol=0, atol=tolerance, err_msg=name)


def test_parts_must_be_equal(data, tiny_template, tmp_path):
    command = ["train", "--data", data.folder, "--pipeline", tiny_template, "--init", "scratch"]
    command += ["--output", tmp_path / "run", "--batch-size", 12, "--accumulate", 5]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 2
    assert " ".join(result.output.split()).endswith(
        "--accumulate: is 5, and 12 images cannot be divided into 5 equal parts. "
        "Give 2 or 3 or 4 or 6 or 12."
    )
    assert not (tmp_path / "run").exists()


def test_several_devices_do_not_accumulate(data):
    with pytest.raises(UserError, match="works on one device, and this training has 2"):
        check_data(data, batch_size=8, replicas=2, parts=2)
    check_data(data, batch_size=8, replicas=2, parts=1)
