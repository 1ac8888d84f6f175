"""Models side by side: the same pictures, the same numbers, and what each one weighs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfod.errors import UserError
from tfod.evaluation.comparison import Contestant, compare, contestants, shown, write_comparison


def test_what_lies_at_a_place_is_found(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pipeline.config").touch()
    (tmp_path / "export" / "saved_model").mkdir(parents=True)
    for name in ("b.tflite", "a.tflite"):
        (tmp_path / "export" / name).touch()
    found = contestants([tmp_path / "run", tmp_path / "export", tmp_path / "export" / "b.tflite"])
    assert [(each.name, each.kind) for each in found] == [
        ("run", "run"),
        ("export", "SavedModel"),
        ("export/a.tflite", "TFLite"),
        ("export/b.tflite", "TFLite"),
        ("export/b.tflite", "TFLite"),
    ]
    for nothing in (tmp_path, tmp_path / "c.tflite"):
        with pytest.raises(UserError, match="holds no model"):
            contestants([nothing])


@pytest.mark.long
def test_a_run_and_its_export_differ_in_form_only(run, exported, data):
    forms = contestants([run, exported])[:3]  # of the .tflite files the one in float32
    table = compare(forms, data, "test").set_index("kind")
    assert list(table.index) == ["run", "SavedModel", "TFLite"]
    assert table["input"].unique().tolist() == ["96 x 96"]
    assert table["parameters"].nunique() == 1
    # The checkpoint holds its weights as float32, and little else.
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


def test_table_and_plot_are_written_and_unknown_is_a_dash(tmp_path):
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
    what, good = shown(table)
    assert what[1][0] == ["a", "run", "96 x 96", "1,234,567", "1.2", "-", "10"]
    assert what[1][1][3] == "-"
    assert good[1][0] == ["a", "0.250", "0.500", "87.5%", "0.0%", "0.50"]
    output = tmp_path / "all"
    write_comparison(table, output)
    again = pd.read_csv(output / "comparison.csv")
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert np.asarray(Image.open(output / "comparison.png")).std() > 10
    assert Contestant(output / "x.tflite", "TFLite").name == "all/x.tflite"
