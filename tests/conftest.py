"""Fixtures of all tests: a small data set, a short training run, and its export."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import tfod  # before any test imports TensorFlow
from helpers.once import build_once
from helpers.packages import install
from helpers.protos import batch_norms
from tfod.model.detection_file import write_detection
from tfod.model.run_folder import RunFolder
from tfod.tiles import Tiles

SHARED = Path(__file__).parents[2] / "shared"
TEMPLATE = "ssd_mobilenet_v2_fpnlite_w050_224x224"


def pytest_unconfigure() -> None:
    # At exit TensorFlow warns about rejected checkpoints, in hundreds of lines below the summary.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the files: those of an export begin and end, so that only one process waits for it.

    Those without training are last, so that no process ends much later than the other.
    """
    exporting = {item.path for item in items if "exported" in getattr(item, "fixturenames", ())}
    training = {item.path for item in items if item.get_closest_marker("long")}
    first = next((item.path for item in items if item.path in exporting), None)

    def place(item: pytest.Item) -> int:
        if item.path == first:
            return 0
        if item.path in exporting:
            return 2
        return 1 if item.path in training else 3

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def release_models() -> Iterator[None]:
    """Frees the models of a test module after its tests.

    Keras keeps built models in a global state, and glibc does not return freed memory. Without this
    fixture, pytest's process grows to 15 GB.
    """
    yield
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        tf.keras.backend.clear_session()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real images and weights, next to the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder `shared` next to the checkout")
    return SHARED


@pytest.fixture(scope="session")
def beam_environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables of a process that can import apache_beam, tfod and `helpers`.

    Beam is not imported here, because it requires older releases of our packages.
    """
    paths = [str(path) for path in (Path(tfod.__file__).parents[1], Path(__file__).parent)]
    if importlib.util.find_spec("apache_beam") is None:
        folder = build_once(tmp_path_factory, "beam", lambda folder: install(folder, "apache-beam"))
        paths.insert(0, str(folder))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="session")
def sample_voc(tmp_path_factory) -> Path:
    """VOC folder with 24 synthetic scenes."""
    from tfod.sample.sample import write_sample

    return build_once(tmp_path_factory, "voc", partial(write_sample, count=24, seed=0))


@pytest.fixture(scope="session")
def data(sample_voc, tmp_path_factory):
    """The converted scenes: 16 train, 4 val, 4 test."""
    from tfod.conversion.converter import convert
    from tfod.dataset.manifest import load_dataset

    folders = (sample_voc / "annotations", sample_voc / "images")
    build = partial(convert, *folders, split=(0.67, 0.17, 0.16))
    return load_dataset(build_once(tmp_path_factory, "sample", build))


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory) -> Path:
    """The demo's template with an input of 96 pixels and a third of the width: fast to trace.

    The predictor starts with large weights, and batch norm adapts quickly. So the scores of a model
    that is almost untrained differ, and detections have an order to compare.
    """
    from tfod.model.pipeline import read_pipeline, write_pipeline
    from tfod.model.templates import find_template

    pipeline = read_pipeline(find_template(TEMPLATE))
    resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 96
    pipeline.model.ssd.feature_extractor.depth_multiplier = 0.35
    predictor = pipeline.model.ssd.box_predictor.weight_shared_convolutional_box_predictor
    predictor.conv_hyperparams.initializer.random_normal_initializer.stddev = 0.2
    predictor.class_prediction_bias_init = -2.0  # scores above the minimum score of a .tflite
    for batch_norm in batch_norms(pipeline.model):
        batch_norm.decay = 0.01
    path = tmp_path_factory.mktemp("tiny") / "pipeline.config"
    write_pipeline(pipeline, path)
    return path


@pytest.fixture(scope="session")
def options():
    from tfod.model.pipeline import Options

    return Options(steps=4, batch_size=4)


@pytest.fixture(scope="session")
def run(data, tiny_template, options, tmp_path_factory) -> Path:
    """Run folder of four training steps, without interruption."""
    from tfod.training.trainer import RunSettings, train

    settings = RunSettings(checkpoint_every=2)

    def build(folder: Path) -> None:
        train(data, str(tiny_template), folder / "tiny", options, settings)

    return build_once(tmp_path_factory, "runs", build) / "tiny"


@pytest.fixture(scope="session")
def tiled_run(run, tmp_path_factory) -> Path:
    """That run, as if its data set were cut into tiles: larger ones than the images here."""
    folder = tmp_path_factory.mktemp("tiled") / "tiny"
    shutil.copytree(run, folder)
    write_detection(RunFolder(folder).detection, Tiles(500))
    return folder


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory) -> Path:
    """Export of that run. Its `.tflite` files suppress within each class, like the checkpoint."""
    from tfod.export.exporter import export

    def build(folder: Path) -> None:
        export(run, folder / "tiny", nms="regular")

    return build_once(tmp_path_factory, "exported", build) / "tiny"


@pytest.fixture(scope="session")
def images(sample_voc):
    """The first eight scenes, uint8 `[H, W, 3]` RGB."""
    from tfod.images import load_rgb

    return [load_rgb(path) for path in sorted((sample_voc / "images").iterdir())[:8]]
