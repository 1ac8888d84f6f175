"""Tests `inspection.statistics` and `tfod inspect`: counts, sizes, warnings and the page."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.errors import UserError
from tfod.inspection import statistics
from tfod.model.pipeline import architecture, read_pipeline
from tfod.model.templates import find_template


@pytest.fixture(scope="module")
def inspection(data):
    return statistics.inspect(statistics.find_records(data.folder))


def test_counts_equal_the_manifest(inspection, data):
    counts = statistics.class_counts(inspection)
    for name, split in data.splits.items():
        assert counts[name, "objects"].to_dict() == split.objects_per_class
        assert (inspection.images["split"] == name).sum() == split.images
    assert (counts.xs("images", axis=1, level=1) <= counts.xs("objects", axis=1, level=1)).all(
        axis=None
    )


def test_records_of_other_programs_are_split_by_file_name(data, inspection, tmp_path):
    for name, split in data.splits.items():
        shutil.copy(split.shards[0], tmp_path / f"{name}.record-00000-of-00001")
    with pytest.raises(UserError, match=r"contains 0 label maps.*Choose one with --label-map"):
        statistics.find_records(tmp_path)
    shutil.copy(data.label_map, tmp_path / "signs.pbtxt")
    records = statistics.find_records(tmp_path)
    assert set(records.splits) == set(data.splits)
    again = statistics.class_counts(statistics.inspect(records))
    assert again[["train"]].equals(statistics.class_counts(inspection)[["train"]])


def test_folders_without_records_are_reported(tmp_path):
    with pytest.raises(UserError, match="contains no TFRecord files"):
        statistics.find_records(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        statistics.find_records(tmp_path / "none")


def test_an_invalid_record_is_reported(data, tmp_path):
    from tfod.dataset.tfrecord import write_record

    shutil.copy(data.label_map, tmp_path / "signs.pbtxt")
    with (tmp_path / "train.record").open("wb") as file:
        write_record(file, b"no example")
    with pytest.raises(UserError, match=r"train\.record: record 1 cannot be decoded"):
        statistics.inspect(statistics.find_records(tmp_path))


def test_sizes_are_in_pixels_of_the_images(inspection):
    sizes = statistics.size_table(inspection)
    assert sizes.loc["image width", "max"] == inspection.images["width"].max()
    assert 2 < sizes.loc["box width", "median"] < inspection.images["width"].max()
    assert (sizes["min"] <= sizes["median"]).all() and (sizes["median"] <= sizes["max"]).all()


def test_warnings_name_the_problems_of_a_data_set(inspection):
    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_fpnlite_320x320"))
    model = architecture(pipeline)
    warnings = "\n".join(statistics.warnings(inspection, pipeline))
    assert "fewer than 200 training images of: crosswalk (" in warnings
    assert "returns" not in warnings

    model.image_resizer.fixed_shape_resizer.height = 16
    model.post_processing.batch_non_max_suppression.max_total_detections = 1
    warnings = "\n".join(statistics.warnings(inspection, pipeline))
    assert f"of {len(inspection.boxes)} boxes are less than 8 pixels wide or high" in warnings
    assert "in the model's input of 320 x 16: use a larger template" in warnings
    assert "objects, but the model returns at most 1" in warnings

    rare = inspection.boxes[
        (inspection.boxes["class"] != "stop") | (inspection.boxes["split"] != "train")
    ]
    warnings = "\n".join(statistics.warnings(replace(inspection, boxes=rare)))
    assert "and stop has 0: the detector will favor the frequent class" in warnings


def test_examples_show_all_classes(inspection):
    assert {name for example in inspection.examples for name in example.objects.names} == set(
        inspection.classes
    )


def test_the_command_prints_tables_and_writes_a_page(data, tmp_path):
    arguments = ["inspect", str(data.folder), "--pipeline", "ssd_mobilenet_v2_320x320"]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "page")])
    assert result.exit_code == 0, result.output
    for text in ("speedlimit", "box width", "boxes with an anchor", "note: fewer than 200"):
        assert text in result.output
    (page,) = (tmp_path / "page").iterdir()
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "page")])
    assert (result.exit_code, "already exists" in result.output) == (2, True)
    overwrite = [*arguments, "--overwrite", "--output"]
    result = CliRunner().invoke(main, [*overwrite, str(tmp_path / "page")])
    assert result.exit_code == 0, result.output
    for option, source in (
        ("--label-map", data.label_map),
        ("--pipeline", find_template("simple_cnn")),
    ):
        file = Path(shutil.copy(source, tmp_path / "page"))
        result = CliRunner().invoke(main, [*overwrite, str(tmp_path / "page"), option, str(file)])
        assert (result.exit_code, f"would replace {file}" in result.stderr) == (2, True)
        file.unlink()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<p>caf\xe9</p>", encoding="latin-1")
    result = CliRunner().invoke(main, [*overwrite, str(tmp_path / "site")])
    assert "site: exists and is not a page of tfod inspect" in result.stderr
    text = page.read_text()
    assert text.count("<img alt=") == 5
    assert "<h2>Anchors</h2>" in text


@pytest.mark.parametrize(
    "pipeline", [[], ["--pipeline", "ssd_mobilenet_v2_320x320"], ["--pipeline", "simple_cnn"]]
)
def test_the_page_shows_augmented_images(pipeline, data, tmp_path):
    arguments = ["inspect", str(data.folder), *pipeline, "--augmented"]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "page")])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "page" / "index.html").read_text()
    assert "<h2>Augmented images</h2>" in text
    assert ("<h2>Anchors</h2>" in text) == ("ssd_mobilenet_v2_320x320" in pipeline)
    assert text.count('alt="an image without augmentation and with it"') == 6
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (
        2,
        "tfod: --augmented: needs a page to show images on. Give --output.\n",
    )
