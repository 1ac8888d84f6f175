"""Tests `evaluation.comparison`: candidates, metrics, sizes, and the written files."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfod.errors import UserError
from tfod.evaluation.comparison import (
    Candidate,
    compare,
    find_candidates,
    is_comparison,
    terminal_tables,
    write_comparison,
)


def test_runs_exports_and_tflite_files_are_candidates(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pipeline.config").touch()
    (tmp_path / "export" / "saved_model").mkdir(parents=True)
    for name in ("b.tflite", "a.tflite"):
        (tmp_path / "export" / name).touch()
    candidates = find_candidates(
        [tmp_path / "run", tmp_path / "export", tmp_path / "export" / "b.tflite"]
    )
    assert [(candidate.name, candidate.kind) for candidate in candidates] == [
        ("run", "run"),
        ("export", "SavedModel"),
        ("export/a.tflite", "TFLite"),
        ("export/b.tflite", "TFLite"),
        ("export/b.tflite", "TFLite"),
    ]
    for nothing in (tmp_path, tmp_path / "c.tflite"):
        with pytest.raises(UserError, match="does not contain a model"):
            find_candidates([nothing])


@pytest.mark.long
def test_a_run_and_its_exports_have_equal_metrics(run, exported, data, tmp_path):
    candidates = find_candidates([run, exported])[:3]  # the first .tflite is float32
    alone = Path(shutil.copy(exported / "model.tflite", tmp_path / "alone.tflite"))
    *rows, copy = compare([*candidates, *find_candidates([alone])], data, "test").to_dict("records")
    assert copy["input"] == "96 x 96" and copy["AP"] == rows[2]["AP"]
    assert math.isnan(copy["parameters"])
    table = pd.DataFrame(rows).set_index("kind")
    assert list(table.index) == ["run", "SavedModel", "TFLite"]
    assert table["input"].unique().tolist() == ["96 x 96"]
    assert table["parameters"].nunique() == 1
    # A checkpoint is little more than its float32 weights.
    assert table["MB"]["run"] == pytest.approx(4e-6 * table["parameters"]["run"], rel=0.15)
    files = (exported / "saved_model").rglob("*")
    size = sum(file.stat().st_size for file in files if file.is_file())
    assert table["MB"]["SavedModel"] == pytest.approx(size / 1e6)
    assert table["MB"]["TFLite"] == (exported / "model.tflite").stat().st_size / 1e6
    assert table["AP"]["run"] == pytest.approx(table["AP"]["SavedModel"], abs=1e-6)
    assert (table["ms"] > 0).all()
    seconds = pd.read_csv(run / "metrics.csv")["seconds"]
    assert seconds.is_monotonic_increasing and seconds.iloc[0] > 0
    assert table["training"]["run"] == pytest.approx(seconds.iloc[-1] / 60)
    assert math.isnan(table["training"]["SavedModel"])


def test_comparison_writes_table_and_plot_and_shows_nan_as_a_dash(tmp_path):
    rows = [
        {
            "model": name,
            "kind": kind,
            "input": "96 x 96",
            "parameters": parameters,
            "MB": 1.25,
            "training": math.nan,
            "AP": 0.25,
            "AP50": ap50,
            "correct": 0.875,
            "false": 0.0,
            "threshold": 0.5,
            "ms": ms,
        }
        for name, kind, parameters, ap50, ms in (
            ("a", "run", 1234567.0, 0.5, 10.0),
            ("b", "TFLite", math.nan, 0.75, 40.0),
        )
    ]
    table = pd.DataFrame(rows)
    models, accuracy = terminal_tables(table)
    assert models[1][0] == ["a", "run", "96 x 96", "1,234,567", "1.2", "-", "10"]
    assert models[1][1][3] == "-"
    assert accuracy[1][0] == ["a", "run", "0.250", "0.500", "87.5%", "0.0%", "0.50"]
    output = tmp_path / "compared"
    output.mkdir()
    assert not is_comparison(output)
    write_comparison(table, output)
    assert is_comparison(output)
    read = pd.read_csv(output / "comparison.csv")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert np.asarray(Image.open(output / "comparison.png")).std() > 10
    assert Candidate(output / "x.tflite", "TFLite").name == "compared/x.tflite"
