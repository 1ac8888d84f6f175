"""Tests which folders `tfod export` accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfod.errors import UserError
from tfod.export import export


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
