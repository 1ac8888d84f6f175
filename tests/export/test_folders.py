"""Tests which folders `tfod export` accepts, and a full disk."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
import tensorflow as tf

from tfod.errors import UserError
from tfod.export import export, exporter
from tfod.files import replacing_folder
from tfod.model.export_folder import ExportFolder


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "pipeline.config").write_text("model { ssd { } }")
    return folder


@pytest.mark.parametrize("output", ["runs/a", "runs", "runs/link"])
def test_a_folder_that_contains_the_run_is_not_replaced(output, tmp_path):
    run = make_run(tmp_path / "runs" / "a")
    (tmp_path / "runs" / "link").symlink_to(run)
    with pytest.raises(UserError, match=f"would replace {run}. Choose another --output"):
        export(run, tmp_path / output, overwrite=True)
    assert (run / "pipeline.config").is_file()


def test_an_export_is_not_a_run(tmp_path):
    exported = make_run(tmp_path / "exported")
    (exported / "saved_model").mkdir()
    with pytest.raises(UserError, match="exported: is not a run folder"):
        export(exported, tmp_path / "again")


def test_full_disk_is_reported_in_one_line(tmp_path):
    """TensorFlow's errors for a file that cannot be written are no OSError."""

    class Model(tf.Module):
        def __init__(self):
            self.weights = tf.Variable(tf.zeros([100_000]))

    model = Model()
    detect = tf.function(lambda: model.weights[0], input_signature=())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(UserError) as caught, replacing_folder(tmp_path / "out") as folder:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # bytes per file
            with exporter._full_disk_as_os_error():
                exporter._save_checkpoint_and_saved_model(model, detect, ExportFolder(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == (
        f"{tmp_path}/out: cannot be written: File too large. "
        "Free disk space, or choose another place."
    )
    assert not list(tmp_path.iterdir())
