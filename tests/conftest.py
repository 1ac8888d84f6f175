"""Shared fixtures: one small data set, one short training and one export for all tests."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import tfod  # noqa: F401  before any test imports TensorFlow
from helpers.protos import batch_norms

SHARED = Path(__file__).parents[2] / "shared"
TEMPLATE = "ssd_mobilenet_v2_fpnlite_w050_224x224"


def pytest_unconfigure() -> None:
    # Of checkpoints that were refused it would tell now, in hundreds of lines below the summary.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real pictures and weights, where they lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the shared folder beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def sample_voc(tmp_path_factory) -> Path:
    """A VOC folder of 24 synthetic scenes."""
    from tfod.sample.sample import write_sample

    folder = tmp_path_factory.mktemp("sample") / "voc"
    write_sample(folder, 24, seed=0)
    return folder


@pytest.fixture(scope="session")
def data(sample_voc, tmp_path_factory):
    """The scenes converted: 16 train, 4 val, 4 test."""
    from tfod.conversion.converter import convert

    return convert(
        sample_voc / "annotations",
        sample_voc / "images",
        tmp_path_factory.mktemp("data") / "sample",
        split=(0.67, 0.17, 0.16),
    )


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory) -> Path:
    """The demo's template at 96 pixels and a third of the width: quick to trace.

    Its predictor starts with large weights and batch norm follows at once, so that an all but
    untrained model's scores differ and detections have an order to compare.
    """
    from tfod.model.pipeline import read_pipeline, write_pipeline
    from tfod.model.templates import find_template

    pipeline = read_pipeline(find_template(TEMPLATE))
    resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 96
    pipeline.model.ssd.feature_extractor.depth_multiplier = 0.35
    predictor = pipeline.model.ssd.box_predictor.weight_shared_convolutional_box_predictor
    predictor.conv_hyperparams.initializer.random_normal_initializer.stddev = 0.2
    predictor.class_prediction_bias_init = -2.0  # scores that a .tflite reports
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
    """A run of four steps, trained without a break."""
    from tfod.training.trainer import RunSettings, train

    output = tmp_path_factory.mktemp("runs") / "tiny"
    train(data, str(tiny_template), output, options, RunSettings(checkpoint_every=2))
    return output


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory) -> Path:
    """That run exported, `.tflite` files with the same suppression as the rest."""
    from tfod.export.exporter import export

    return export(run, tmp_path_factory.mktemp("exported") / "tiny", nms="regular")


@pytest.fixture(scope="session")
def pictures(sample_voc):
    """The first eight scenes as uint8 [H, W, 3]."""
    from tfod.images import load_rgb

    return [load_rgb(path) for path in sorted((sample_voc / "images").iterdir())[:8]]
