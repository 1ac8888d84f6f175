"""Fixtures of the training tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from helpers.stub_learner import StubLearner
from tfod.model.pipeline import read_pipeline, write_pipeline
from tfod.training import trainer


@pytest.fixture
def stub_learner(monkeypatch):
    """Replaces model and optimizer: for tests of the loop alone."""

    def use(loss=lambda step: 1.0) -> None:
        monkeypatch.setattr(trainer, "Learner", partial(StubLearner, loss))

    use()
    return use


@pytest.fixture(scope="session")
def shallow_template(tiny_template, tmp_path_factory) -> Path:
    """The tiny template with one layer per predictor tower, which is faster to trace."""
    pipeline = read_pipeline(tiny_template)
    predictor = pipeline.model.ssd.box_predictor.weight_shared_convolutional_box_predictor
    predictor.num_layers_before_predictor = 1
    path = tmp_path_factory.mktemp("shallow") / "pipeline.config"
    write_pipeline(pipeline, path)
    return path
