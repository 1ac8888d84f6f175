"""Tests `conversion.converter`: a VOC folder is converted to a data set, or nothing is written."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.conversion import run
from helpers.files import contents
from helpers.table_files import coco
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.conversion.converter import convert
from tfod.dataset.manifest import load_dataset
from tfod.dataset.records import read_records
from tfod.errors import BadFilesError, UserError
from tfod.images import load_rgb

ROADSIGN = Path(__file__).parents[3] / "shared" / "roadsign"


def test_all_files_are_written_and_read_back(voc):
    data = run(voc, split=(0.6, 0.2, 0.2))
    assert sorted(contents(data.folder)) == [
        "annotations.csv",
        "dataset.json",
        "label_map.pbtxt",
        "test-00000-of-00001.tfrecord",
        "train-00000-of-00001.tfrecord",
        "val-00000-of-00001.tfrecord",
    ]
    assert load_dataset(data.folder) == data
    assert data.classes == {1: "stop", 2: "tram"}
    expected = {"train": (18, (12, 3)), "val": (6, (4, 1)), "test": (6, (4, 1))}
    for name, (images, per_class) in expected.items():
        split = data.split(name)
        assert (split.images, split.negatives) == (images, images - sum(per_class))
        assert split.objects_per_class == dict(zip(("stop", "tram"), per_class, strict=True))
        records = list(read_records(split.shards))
        assert len(records) == images
        assert sum(not record.annotation.objects for record in records) == split.negatives
    source_ids = [
        record.annotation.source_id
        for split in data.splits.values()
        for record in read_records(split.shards)
    ]
    assert sorted(source_ids) == sorted(path.name for path in (voc / "images").iterdir())
    assert not list(voc.parent.glob("*.partial"))


def test_csv_has_one_row_per_box_and_one_per_image_without_objects(voc):
    write_xml(voc / "annotations/0.xml", voc_object("stop", (1.5, 2, 11, 12)), voc_object("tram"))
    table = pd.read_csv(run(voc).folder / "annotations.csv", keep_default_na=False, dtype=str)
    assert list(table.columns) == (
        ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "split"]
    )
    assert len(table) == 31
    rows = table.set_index("filename").drop(columns="split")
    assert rows.loc["0.jpg"].to_numpy().tolist() == [
        ["40", "30", "stop", "1.5", "2", "11", "12"],
        ["40", "30", "tram", "1", "2", "11", "12"],
    ]
    assert rows.loc["22.png"].tolist() == ["40", "30", "", "", "", "", ""]
    assert set(table["split"]) == {"train", "val", "test"}


def test_integer_coordinates_are_written_without_decimal_point(voc):
    text = (run(voc).folder / "annotations.csv").read_text()
    assert text.splitlines()[1].startswith("0.jpg,40,30,stop,1,2,11,12,")


def test_same_seed_gives_same_bytes_for_any_number_of_processes(voc, monkeypatch):
    monkeypatch.setattr("tfod.conversion.converter.FEW_IMAGES", 0)
    monkeypatch.setattr("tfod.parallel.CHUNK", 4)
    label_map, common = run(voc).label_map, {"seed": 3, "shards": 3}
    for options in ({}, {"label_map": label_map}):
        first, *others = (
            contents(
                run(voc, f"{workers}{len(options)}", workers=workers, **common, **options).folder
            )
            for workers in (1, 2, 4)
        )
        assert others == [first, first]
    other = contents(run(voc, "c", seed=4, shards=3).folder)
    assert other["train-00000-of-00003.tfrecord"] != first["train-00000-of-00003.tfrecord"]
    assert "val-00002-of-00003.tfrecord" in first


def test_training_shards_have_mixed_classes(voc):
    shards = run(voc, shards=4).split("train").shards
    for shard in shards:
        kinds = {bool(record.annotation.objects) for record in read_records([shard])}
        names = {box.name for record in read_records([shard]) for box in record.annotation.objects}
        assert kinds == {True, False} or names == {"stop", "tram"}


def test_there_are_no_more_shards_than_images(voc):
    data = run(voc, shards=10, split=(0.6, 0.2, 0.2))
    assert [len(split.shards) for split in data.splits.values()] == [10, 6, 6]


def test_label_map_option_keeps_its_ids(voc):
    label_map = voc / "map.pbtxt"
    label_map.write_text(
        "item { id: 1 name: 'tram' } item { id: 2 name: 'bus' } item { id: 3 name: 'stop' }"
    )
    data = run(voc, label_map=label_map)
    assert data.classes == {1: "tram", 2: "bus", 3: "stop"}
    assert data.split("train").objects_per_class["bus"] == 0

    import tensorflow as tf

    [shard] = data.split("train").shards
    for serialized in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        for name, label in zip(
            feature["image/object/class/text"].bytes_list.value,
            feature["image/object/class/label"].int64_list.value,
            strict=True,
        ):
            assert data.classes[label].encode() == name


def test_class_that_is_not_in_the_label_map_is_reported_per_file(voc):
    label_map = voc / "map.pbtxt"
    label_map.write_text("item { id: 1 name: 'stop' }")
    with pytest.raises(BadFilesError) as caught:
        run(voc, label_map=label_map)
    assert [str(error) for error in caught.value.errors] == [
        f"{voc}/annotations/{number}.xml: class 'tram' of object 1 is not in the label map. "
        "Correct the name, or add it to the label map."
        for number in range(25, 30)
    ]


def damage(voc: Path) -> None:
    write_xml(voc / "annotations/1.xml", voc_object(box=(0, 0, 99, 9)))
    (voc / "annotations/2.xml").write_text("<annotation>")
    (voc / "images/3.jpg").unlink()


def test_all_faults_are_reported_and_nothing_is_written(voc):
    damage(voc)
    before = sorted(voc.parent.rglob("*"))
    with pytest.raises(BadFilesError) as caught:
        run(voc)
    assert [(Path(error.path).name, error.kind) for error in caught.value.errors] == [
        ("1.xml", "box outside"),
        ("2.xml", "broken XML"),
        ("3.xml", "image missing"),
    ]
    assert "3 unusable files (1 box outside, 1 broken XML, 1 image missing)" in str(caught.value)
    assert sorted(voc.parent.rglob("*")) == before


def test_skip_bad_lists_the_skipped_files(voc):
    damage(voc)
    write_image(voc / "images/unused.jpg")
    data = run(voc, skip_bad=True)
    assert sum(split.images for split in data.splits.values()) == 27
    manifest = json.loads((data.folder / "dataset.json").read_text())
    assert [Path(entry["file"]).name for entry in manifest["skipped"]] == (
        ["1.xml", "2.xml", "3.xml"]
    )
    assert manifest["skipped"][2] == {
        "file": f"{voc}/annotations/3.xml",
        "kind": "image missing",
        "reason": f"no image '3.jpg' in {voc}/images",
    }
    assert manifest["images_without_annotation"] == 1
    assert data.remarks[-1].what == (
        "3 of 30 annotations (10.0%) were skipped: 1 box outside, 1 broken XML, 1 image missing; "
        "dataset.json lists them; --fix repairs some of them"
    )


def test_skipped_images_of_one_coco_file_are_counted(tmp_path):
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in range(10)]
    boxes = [{"image_id": n, "category_id": 1, "bbox": [1, 2, 10, 10]} for n in range(10)]
    coco(tmp_path / "a.json", images=images, annotations=boxes, categories=[{"id": 1, "name": "a"}])
    write_image(tmp_path / "images/7.png")
    options = {"skip_bad": True, "split": (1, 0, 0)}
    data = convert(tmp_path / "a.json", tmp_path / "images", tmp_path / "data", **options)
    assert data.remarks[-1].what == (
        "9 of 10 annotations (90.0%) were skipped: 9 image missing; dataset.json lists them"
    )


def test_boxes_drawn_on_the_upright_image_match_the_record(voc):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(voc / "images/0.jpg", exif=exif)
    write_xml(voc / "annotations/0.xml", voc_object(box=(0, 0, 15, 40)), size=(30, 40))
    data = run(voc, split=(1, 0, 0))
    records = read_records(data.split("train").shards)
    [record] = [record for record in records if record.annotation.source_id == "0.jpg"]
    assert load_rgb(record.image.data).shape == (40, 30, 3)
    assert (record.image.width, record.image.height) == (30, 40)
    [box] = record.annotation.objects
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == (0, 0, 15, 40)


def test_images_with_the_same_name_in_two_folders_are_both_used(tmp_path):
    for folder, number in itertools.product(("day", "night"), range(5)):
        write_image(tmp_path / f"voc/images/{folder}/{number}.jpg")
        write_xml(tmp_path / f"voc/annotations/{folder}/{number}.xml", voc_object())
    data = run(tmp_path / "voc", split=(1, 0, 0))
    ids = [record.annotation.source_id for record in read_records(data.split("train").shards)]
    assert sorted(ids) == [f"{folder}/{n}.jpg" for folder in ("day", "night") for n in range(5)]


def test_existing_output_is_refused_or_replaced_completely(voc):
    first = contents(run(voc).folder)
    with pytest.raises(UserError, match="already exists"):
        run(voc, seed=1)
    assert contents(voc.parent / "data") == first
    (voc.parent / "data/train-00009-of-00010.tfrecord").touch()
    replaced = contents(run(voc, seed=1, overwrite=True).folder)
    assert replaced.keys() == first.keys()
    assert replaced != first


def test_overwrite_deletes_only_data_sets(voc):
    thesis = voc.parent / "data/thesis.txt"
    thesis.parent.mkdir()
    thesis.touch()
    with pytest.raises(UserError, match=r"exists and is not a data set, so it is not overwritten"):
        run(voc, overwrite=True)
    assert thesis.exists()

    (voc / "dataset.json").touch()
    with pytest.raises(UserError, match="would replace"):
        run(voc, "voc", overwrite=True)
    assert (voc / "annotations").is_dir()

    thesis.unlink()
    split = Path(shutil.copy(run(voc).folder / "annotations.csv", voc.parent / "data/split.csv"))
    with pytest.raises(UserError, match=r"contains split\.csv, .* Move split\.csv, or choose"):
        run(voc, split_by=split, overwrite=True)
    split.unlink()
    first = contents(voc.parent / "data")
    own = voc.parent / "data/annotations.csv"
    run(voc, split_by=own, overwrite=True)  # it is written again
    assert contents(voc.parent / "data")["annotations.csv"] == first["annotations.csv"]


def test_images_in_a_folder_with_the_temporary_name_are_kept(voc):
    images = (voc / "images").rename(voc.parent / "data.partial")
    before = contents(images)
    with pytest.raises(UserError, match=r"data\.partial: exists, and tfod needs this name"):
        convert(voc / "annotations", images, voc.parent / "data")
    assert contents(images) == before


@pytest.mark.parametrize("stage", ["check", "write"])
def test_second_conversion_into_the_same_folder_is_refused(voc, stage):
    expected = contents(run(voc, "expected", seed=1).folder)
    refused = []

    def start_another(current: str, done: int, total: int) -> None:
        if (current, done) == (stage, 20):
            with pytest.raises(UserError, match="data: is being written by another tfod") as error:
                run(voc, seed=2, overwrite=True)
            refused.append(error)

    assert contents(run(voc, seed=1, progress=start_another).folder) == expected
    assert refused


@pytest.mark.parametrize("stage", ["check", "write"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_ctrl_c_keeps_the_old_data_set_and_leaves_no_files(voc, stage, overwrite):
    old = contents(run(voc).folder) if overwrite else None
    before = sorted(voc.parent.rglob("*"))

    def interrupt(current: str, done: int, total: int) -> None:
        if (current, done) == (stage, 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(voc, seed=1, overwrite=overwrite, progress=interrupt)
    assert sorted(voc.parent.rglob("*")) == before
    assert not overwrite or contents(voc.parent / "data") == old


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_leaves_the_old_data_set_or_none_and_the_next_run_succeeds(voc, workers):
    """Kills ten runs at moments spread over the duration of one run."""
    code = f"""
        from pathlib import Path
        from tfod.conversion import converter
        from tfod import parallel

        if __name__ == "__main__":
            converter.FEW_IMAGES, parallel.CHUNK = 0, 4
            voc = Path({str(voc)!r})
            converter.convert(
                voc / "annotations", voc / "images", voc.parent / "data",
                seed=1, workers={workers}, overwrite=True,
            )
    """
    script = voc.parent / "script.py"
    script.write_text(textwrap.dedent(code))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, script], env=env)

    old = contents(run(voc, seed=0).folder)
    new = contents(run(voc, "new", seed=1).folder)
    started = time.monotonic()
    assert start().wait() == 0
    seconds = time.monotonic() - started
    data = voc.parent / "data"
    assert contents(data) == new
    outcomes = set()
    for moment in range(10):
        shutil.rmtree(data, ignore_errors=True)
        run(voc, seed=0, overwrite=True)
        process = start()
        time.sleep(seconds * (moment + 1) / 10)
        process.kill()
        process.wait()
        outcomes.add("none" if not data.exists() else "old" if contents(data) == old else "new")
        assert not data.exists() or contents(data) in (old, new)
    assert "old" in outcomes
    assert start().wait() == 0
    assert contents(data) == new
    assert not list(voc.parent.glob("*.partial"))


def test_image_deleted_after_the_check_is_reported_and_nothing_is_written(voc):
    before = sorted(voc.parent.iterdir())

    def remove(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("check", total):
            (voc / "images/4.png").unlink()

    with pytest.raises(UserError, match=r"4.png: cannot be read: No such file"):
        run(voc, progress=remove, shards=1)
    assert sorted(voc.parent.iterdir()) == before


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])  # stored unchanged, and re-encoded
def test_image_changed_after_the_check_is_reported_and_nothing_is_written(voc, mode):
    write_image(voc / "images/4.png", mode=mode)

    def change(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("check", total):
            write_image(voc / "images/4.png", color=(1, 2, 3), mode=mode)

    with pytest.raises(UserError, match=r"4.png: changed after it was checked"):
        run(voc, progress=change, shards=1)
    assert not (voc.parent / "data").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": (0.5, 0.1, 0.1)}, "--split: 0.5,0.1,0.1 sums to 0.7"),
        ({"shards": 0}, "--shards: is 0. Give 1 or more."),
        ({"workers": -1}, "--workers: is -1. Give 1 or more."),
        ({"label_map": "none.pbtxt"}, "none.pbtxt: cannot be read"),
    ],
)
def test_invalid_options_are_reported(voc, options, message):
    with pytest.raises(UserError) as caught:
        run(voc, **options)
    assert str(caught.value).startswith(message)
    assert not (voc.parent / "data").exists()


def test_data_set_without_objects_is_refused(tmp_path):
    write_image(tmp_path / "voc/images/a.jpg")
    write_xml(tmp_path / "voc/annotations/a.xml")
    with pytest.raises(UserError, match="no annotation contains an object"):
        run(tmp_path / "voc")
    assert not (tmp_path / "data").exists()


@pytest.fixture(scope="module")
def roadsign(tmp_path_factory):
    if not ROADSIGN.is_dir():
        pytest.skip(f"needs the Road Sign images in {ROADSIGN}")
    output = tmp_path_factory.mktemp("roadsign") / "signs"
    return convert(ROADSIGN / "annotations", ROADSIGN / "images", output)


def test_roadsign_split_is_stratified(roadsign):
    assert list(roadsign.classes.values()) == ["crosswalk", "speedlimit", "stop", "trafficlight"]
    assert sum(split.images for split in roadsign.splits.values()) == 707
    assert abs(roadsign.split("val").images - 70.7) <= 3
    for name in roadsign.classes.values():
        counts = [split.objects_per_class[name] for split in roadsign.splits.values()]
        assert 0.06 < counts[1] / sum(counts) < 0.14
        assert 0.06 < counts[2] / sum(counts) < 0.14


def test_roadsign_jpegs_are_unchanged_and_rgba_pngs_have_the_same_pixels(roadsign):
    import tensorflow as tf

    formats = {b"jpeg": 0, b"png": 0}
    for split in roadsign.splits.values():
        for record in read_records(split.shards):
            source = ROADSIGN / "images" / record.annotation.source_id
            formats[record.image.format] += 1
            if record.image.format == b"jpeg":
                assert record.image.data == source.read_bytes()
            else:
                pixels = tf.io.decode_png(record.image.data)
                np.testing.assert_array_equal(pixels, load_rgb(source))
    assert formats == {b"jpeg": 683, b"png": 24}
