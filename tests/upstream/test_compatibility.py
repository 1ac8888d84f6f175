"""Checkpoints go both ways between tfod and the OD API's own training and export code."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tfod.detection.detector import Detector

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def continued(run, tmp_path_factory) -> Path:
    """Our run of four steps, trained two steps further by upstream's `train_loop`."""
    import tensorflow as tf
    from object_detection import model_lib_v2

    folder = tmp_path_factory.mktemp("upstream") / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("best"))
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        model_lib_v2.train_loop(
            str(folder / "pipeline.config"),
            model_dir=str(folder),
            train_steps=6,
            checkpoint_every_n=1,
            num_steps_per_iteration=1,
        )
    return folder


def upstream_detections(run: Path, output: Path, pictures) -> list[dict[str, np.ndarray]]:
    """What the SavedModel says that upstream's exporter makes of a run's best checkpoint."""
    import tensorflow as tf
    from object_detection import exporter_lib_v2
    from object_detection.utils import config_util

    configs = config_util.get_configs_from_pipeline_file(str(run / "pipeline.config"))
    exporter_lib_v2.export_inference_graph(
        "image_tensor",
        config_util.create_pipeline_proto_from_configs(configs),
        str(run / "best" if (run / "best").is_dir() else run),
        str(output),
    )
    model = tf.saved_model.load(str(output / "saved_model"))
    return [
        {name: value.numpy()[0] for name, value in model(tf.constant(picture[None])).items()}
        for picture in pictures
    ]


def assert_equal(ours: Detector, theirs: list[dict[str, np.ndarray]], pictures) -> None:
    for picture, expected in zip(pictures, theirs, strict=True):
        found = ours.predict(picture)
        np.testing.assert_allclose(found.scores, expected["detection_scores"], atol=1e-5)
        np.testing.assert_allclose(found.boxes, expected["detection_boxes"], atol=1e-5)
        np.testing.assert_array_equal(found.class_ids, expected["detection_classes"])


def test_upstreams_exporter_takes_our_run(run, pictures, tmp_path):
    theirs = upstream_detections(run, tmp_path / "exported", pictures[:3])
    assert_equal(Detector.load(run), theirs, pictures[:3])


def test_upstreams_train_loop_goes_on_from_our_checkpoint_and_ours_reads_what_it_writes(
    run, continued, pictures, tmp_path
):
    import tensorflow as tf

    def read(folder: Path, name: str) -> np.ndarray:
        newest = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
        return newest.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")

    assert (read(run, "step"), read(continued, "step")) == (4, 6)
    theirs = upstream_detections(continued, tmp_path / "exported", pictures[:3])
    assert_equal(Detector.load(continued), theirs, pictures[:3])
    before = Detector.load(run).predict(pictures[0])
    assert np.abs(before.scores - theirs[0]["detection_scores"]).max() > 1e-4  # it did train
