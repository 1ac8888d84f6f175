"""What `tfod inspect` counts, warns of and shows."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.errors import UserError
from tfod.inspection import statistics as inspection
from tfod.model.pipeline import architecture, read_pipeline
from tfod.model.templates import find_template


@pytest.fixture(scope="module")
def found(data):
    return inspection.inspect(inspection.find_records(data.folder))


def test_counts_are_those_of_the_manifest(found, data):
    counts = inspection.class_counts(found)
    for name, split in data.splits.items():
        assert counts[name, "objects"].to_dict() == split.objects_per_class
        assert (found.pictures["split"] == name).sum() == split.images
    assert (counts.xs("pictures", axis=1, level=1) <= counts.xs("objects", axis=1, level=1)).all(
        axis=None
    )


def test_records_of_others_are_found_by_their_names(data, found, tmp_path):
    for name, split in data.splits.items():
        shutil.copy(split.shards[0], tmp_path / f"{name}.record-00000-of-00001")
    with pytest.raises(UserError, match=r"holds 0 label maps.*Name one with --label-map"):
        inspection.find_records(tmp_path)
    shutil.copy(data.label_map, tmp_path / "signs.pbtxt")
    records = inspection.find_records(tmp_path)
    assert set(records.splits) == set(data.splits)
    again = inspection.class_counts(inspection.inspect(records))
    assert again[["train"]].equals(inspection.class_counts(found)[["train"]])


def test_folders_without_records_are_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no TFRecord file"):
        inspection.find_records(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        inspection.find_records(tmp_path / "none")


def test_a_record_that_is_no_picture_is_one_line(data, tmp_path):
    from tfod.dataset.tfrecord import write_record

    shutil.copy(data.label_map, tmp_path / "signs.pbtxt")
    with (tmp_path / "train.record").open("wb") as file:
        write_record(file, b"no example")
    with pytest.raises(UserError, match=r"train\.record: record 1 does not decode"):
        inspection.inspect(inspection.find_records(tmp_path))


def test_sizes_are_in_pixels_of_the_pictures(found):
    sizes = inspection.size_table(found)
    assert sizes.loc["picture width", "most"] == found.pictures["width"].max()
    assert 2 < sizes.loc["box width", "median"] < found.pictures["width"].max()
    assert (sizes["least"] <= sizes["median"]).all() and (sizes["median"] <= sizes["most"]).all()


def test_warnings_name_what_stands_in_the_way(found):
    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_fpnlite_320x320"))
    model = architecture(pipeline)
    said = "\n".join(inspection.warnings(found, pipeline))
    assert "fewer than 200 training pictures of: crosswalk (" in said
    assert "less than 8 pixels" not in said or "320 x 320" in said
    assert "returns" not in said

    model.image_resizer.fixed_shape_resizer.height = 16
    model.post_processing.batch_non_max_suppression.max_total_detections = 1
    said = "\n".join(inspection.warnings(found, pipeline))
    assert f"of {len(found.boxes)} boxes are less than 8 pixels across or down" in said
    assert "objects, and the model returns 1 at most" in said

    rare = found.boxes[(found.boxes["class"] != "stop") | (found.boxes["split"] != "train")]
    said = "\n".join(inspection.warnings(replace(found, boxes=rare)))
    assert "and stop 0: the detector will prefer the one over the other" in said


def test_examples_show_every_class(found):
    assert {name for shown in found.examples for name in shown.objects.names} == set(found.classes)


def test_the_command_prints_tables_and_writes_a_page(data, tmp_path):
    arguments = ["inspect", str(data.folder), "--pipeline", "ssd_mobilenet_v2_320x320"]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "page")])
    assert result.exit_code == 0, result.output
    for text in ("speedlimit", "box width", "boxes with an anchor", "note: fewer than 200"):
        assert text in result.output
    (page,) = (tmp_path / "page").iterdir()
    text = page.read_text()
    assert text.count("<img alt=") == 5
    assert "<h2>Anchors</h2>" in text
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "page")])
    assert (result.exit_code, "exists already" in result.output) == (2, True)
