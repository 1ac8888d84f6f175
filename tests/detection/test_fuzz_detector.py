"""Randomly corrupted models, label maps and images load or raise `UserError`, without a crash."""

from __future__ import annotations

import shutil

import pytest

from helpers.corruption import use_corrupted

pytestmark = pytest.mark.long

# How many of each to try: some in every run of the tests, the rest with `tools/test.sh --all`.
mutants = pytest.mark.parametrize("count", [300, pytest.param(3400, marks=pytest.mark.slow)])


@mutants
@pytest.mark.parametrize("kind", ["model", "label map", "image"])
def test_corruption_is_an_error_or_has_no_effect(kind, count, exported, sample_voc, tmp_path):
    image = shutil.copy(sorted((sample_voc / "images").iterdir())[0], tmp_path / "scene.jpg")
    model = shutil.copy(exported / "model_int8.tflite", tmp_path / "model.tflite")
    labels = shutil.copy(exported / "label_map.pbtxt", tmp_path)
    source = {"model": model, "label map": labels, "image": image}[kind]
    assert 0 < use_corrupted(kind, source, image, model, count) < count
