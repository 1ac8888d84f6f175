"""Tests `tfod compare`: candidates, metrics, sizes, and the written files."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from lxml import html

from helpers.hand_made_detections import CAT, CLASSES, DOG, detected, truth
from tfod.cli import main
from tfod.detection.detections import Detections
from tfod.errors import UserError
from tfod.evaluation.candidates import Candidate, find_candidates
from tfod.evaluation.comparison import Compared, compare, comparison_table, formatted
from tfod.evaluation.comparison_report import most_different
from tfod.evaluation.metrics import evaluate


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
    models = compare([*candidates, *find_candidates([alone])], data, "test")
    *rows, copy = comparison_table(models).to_dict("records")
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
    log = pd.read_csv(run / "metrics.csv")
    assert log["seconds"].is_monotonic_increasing and log["seconds"].iloc[0] > 0
    assert table["minutes"]["run"] == pytest.approx(log["seconds"].iloc[-1] / 60)
    assert (table["steps"]["run"], table["epochs"]["run"]) == (4, log["epoch"].iloc[-1])
    assert math.isnan(table["minutes"]["SavedModel"]) and math.isnan(table["steps"]["TFLite"])


@pytest.mark.long
def test_the_folder_has_numbers_curves_and_the_images_that_differ(run, exported, data, tmp_path):
    output = tmp_path / "compared"
    models = [run, exported / "model.tflite"]
    command = ["compare", "--data", data.folder, "--split", "val", "--output", output, *models]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 0, result.output
    table = pd.read_csv(output / "comparison.csv")
    evaluated = CliRunner().invoke(
        main, ["evaluate", "--run", str(run), "--data", str(data.folder), "--split", "val"]
    )
    assert evaluated.exit_code == 0, evaluated.output
    metrics = json.loads((run / "metrics.json").read_text())
    assert table.loc[0, list(metrics["coco"])].astype(float).tolist() == pytest.approx(
        [math.nan if value is None else value for value in metrics["coco"].values()],
        rel=1e-5,
        nan_ok=True,
    )
    for name in ("objects", "identified", "missed", "false"):
        assert table.loc[0, name] == metrics[name]
    page = html.fromstring((output / "report.html").read_bytes())
    plots = [image.get("alt") for image in page.xpath("//div[@class='plots']//img")]
    assert plots == ["Speed and accuracy", "Training"]
    (output / "notes.txt").touch()
    for overwrite, message in (([], "already exists"), (["--overwrite"], "contains notes.txt")):
        refused = CliRunner().invoke(main, [*map(str, command), *overwrite])
        assert (refused.exit_code, message in refused.stderr) == (2, True)


def compared(name: str, *images: Detections) -> Compared:
    """Returns a model that detected this in images that contain a cat, a cat and a dog, nothing."""
    truths = [truth(CAT), truth(CAT, DOG), truth()][: len(images)]
    evaluated = evaluate(truths, images, CLASSES.values(), 0.5)
    return Compared(Candidate(Path(name), "run"), *evaluated, 1.0)


def test_images_are_ordered_by_the_difference_in_mistakes():
    cat, false = ("cat", 0.9, 10, 20, 50, 80), ("cat", 0.7, 150, 40, 190, 90)
    dog = ("dog", 0.8, 100, 10, 110, 30)
    good = compared("good", detected(cat), detected(cat, dog), detected())
    bad = compared("bad", detected(cat), detected(false), detected(false))
    assert most_different([good, bad]) == [1, 2]  # three mistakes instead of none, one instead of 0
    assert most_different([bad, good]) == [1, 2]
    assert most_different([good, good]) == most_different([bad]) == []


def test_numbers_are_formatted_and_unknown_ones_are_dashes():
    row = {"model": "a", "MB": 1.25, "parameters": 1234567.0, "minutes": math.nan, "AP": 0.25}
    row |= {"objects": 8, "identified": 7, "false": 0, "threshold": 0.5, "AR_1": math.nan}
    columns = ["model", "parameters", "MB", "minutes", "AP", "AR_1", "identified", "false"]
    assert list(formatted(pd.DataFrame([row]), columns)) == [
        ["a", "1,234,567", "1.2", "-", "0.250", "-", "7 (87.5%)", "0 (0.0%)"]
    ]
