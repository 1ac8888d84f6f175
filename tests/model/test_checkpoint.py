"""Tests `model.checkpoint`: what is reported about a checkpoint that cannot be used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfod.errors import UserError
from tfod.model.checkpoint import find_checkpoint, restore_fine_tune_checkpoint

FLOATS = 1000


def module(size: int) -> tf.Module:
    result = tf.Module()
    result.weights = tf.Variable(tf.ones([size]))
    return result


def restore(prefix: Path, size: int) -> None:
    """Restores the checkpoint into a model with one variable of this size."""
    model = SimpleNamespace(
        restore_from_objects=lambda fine_tune_checkpoint_type: {"model": module(size)}
    )
    restore_fine_tune_checkpoint(model, prefix, "detection")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return Path(tf.train.Checkpoint(model=module(FLOATS)).write(str(tmp_path / "ckpt-0")))


@pytest.mark.parametrize("folder", [".", ""])
def test_the_current_folder_without_a_checkpoint_is_reported(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is not a checkpoint"):
        find_checkpoint(Path(folder))


def test_another_architecture_is_reported(checkpoint):
    restore(checkpoint, FLOATS)
    with pytest.raises(UserError, match="trained with another architecture"):
        restore(checkpoint, FLOATS + 1)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "changed"])
def test_a_missing_or_damaged_data_file_is_not_reported_as_another_architecture(damage, checkpoint):
    data = checkpoint.with_name("ckpt-0.data-00000-of-00001")
    content = data.read_bytes()
    if damage == "missing":
        data.unlink()
    elif damage == "changed":
        data.write_bytes(content[:1000] + b"changed" + content[1007:])
    else:
        data.write_bytes(content[:1000] if damage == "truncated" else b"")
    with pytest.raises(UserError, match="ckpt-0: cannot be read: a file is missing or damaged"):
        restore(checkpoint, FLOATS)
