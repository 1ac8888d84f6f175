"""Tests that the OD API can train and export a run of tfod, and that tfod can read the result."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tfod.detection.detector import Detector

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def continued(run, tmp_path_factory) -> Path:
    """The run of four steps, trained for two more steps by the OD API's `train_loop`."""
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


def upstream_detections(run: Path, output: Path, images) -> list[dict[str, np.ndarray]]:
    """Exports a run with the OD API's exporter and returns the outputs of the SavedModel."""
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
        {name: value.numpy()[0] for name, value in model(tf.constant(image[None])).items()}
        for image in images
    ]


def assert_equal(detector: Detector, upstream_outputs: list[dict[str, np.ndarray]], images) -> None:
    for image, expected in zip(images, upstream_outputs, strict=True):
        detections = detector.predict(image)
        np.testing.assert_allclose(detections.scores, expected["detection_scores"], atol=1e-5)
        np.testing.assert_allclose(detections.boxes, expected["detection_boxes"], atol=1e-5)
        np.testing.assert_array_equal(detections.class_ids, expected["detection_classes"])


@pytest.mark.slow
def test_the_od_api_exports_a_run(run, images, tmp_path):
    expected = upstream_detections(run, tmp_path / "exported", images[:3])
    assert_equal(Detector.load(run), expected, images[:3])


@pytest.mark.slow
def test_the_od_api_continues_a_run_and_tfod_reads_its_checkpoint(run, continued, images, tmp_path):
    import tensorflow as tf

    def read(folder: Path, name: str) -> np.ndarray:
        newest = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
        return newest.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")

    assert (read(run, "step"), read(continued, "step")) == (4, 6)
    expected = upstream_detections(continued, tmp_path / "exported", images[:3])
    assert_equal(Detector.load(continued), expected, images[:3])
    before = Detector.load(run).predict(images[0])
    change = np.abs(before.scores - expected[0]["detection_scores"]).max()
    assert change > 1e-4  # the two steps changed the weights
