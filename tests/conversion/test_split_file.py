"""Tests `conversion.split_file`, and groups of images that go to the same split."""

from __future__ import annotations

import shutil

import pytest

from helpers.conversion import run, split_of
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.conversion.converter import convert
from tfod.conversion.split_file import read_split
from tfod.errors import BadFilesError, UserError


def test_annotations_csv_of_a_data_set_repeats_its_split(voc):
    data = run(voc, seed=5)
    again = run(voc, "again", split_by=data.folder / "annotations.csv", seed=99)
    assert split_of(again) == split_of(data)


def test_voc_image_sets_are_used(voc):
    sets = voc / "ImageSets/Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("".join(f"{number}  1\n" for number in range(20)))
    (sets / "val.txt").write_text("\n".join(f"{number}" for number in range(20, 30)))
    (sets / "trainval.txt").write_text("0\n1\n")
    data = run(voc, split_by=sets)
    assert {name: split.images for name, split in data.splits.items()} == {"train": 20, "val": 10}
    assert split_of(data)["0.jpg"] == "train" and split_of(data)["27.jpg"] == "val"


def test_names_in_image_sets_may_contain_spaces(tmp_path):
    (tmp_path / "train.txt").write_text("my  tram.jpg\nmy stop  1\n1\n\n")
    (tmp_path / "val.txt").write_text("\ufeff a b -1 \n", encoding="utf-8")
    names = {"my  tram.jpg": "train", "my stop": "train", "1": "train", "a b": "val"}
    assert read_split(tmp_path) == names


def test_unlisted_images_and_equal_images_in_two_splits_are_reported(voc):
    shutil.copy(voc / "images/1.png", voc / "images/30.png")
    write_xml(voc / "annotations/30.xml", voc_object("stop"), filename="30.png")
    rows = [f"{number},{'train' if number < 30 else 'test'}" for number in range(31) if number != 7]
    (voc / "split.csv").write_text("\n".join(["filename,split", *rows]))
    with pytest.raises(BadFilesError) as caught:
        run(voc, split_by=voc / "split.csv")
    faults = sorted((error.kind, str(error.path.name)) for error in caught.value.errors)
    assert faults == [("image in no split", "7.png"), ("image in two splits", "30.png")]
    (fault,) = [error for error in caught.value.errors if error.kind == "image in two splits"]
    assert "is in test, but the same image is" in str(fault)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,part\n1,train\n", "has no columns filename and split"),
        ("filename,split\n1,training\n", "puts '1' into 'training'. Give one of train, val, test"),
        ("filename,split\n1,train\n1,val\n", "puts '1' into train and into val"),
        ("filename,split\n", "lists no images"),
        ("", "has no columns filename and split"),
    ],
)
def test_invalid_split_files_are_reported(voc, text, message):
    (voc / "split.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        run(voc, split_by=voc / "split.csv")


def test_missing_and_binary_files_are_reported(voc):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        run(voc, split_by=voc / "none.csv")
    with pytest.raises(UserError, match="is not a text file"):
        run(voc, split_by=voc / "images/1.png")


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_a_video_are_in_the_same_split(tmp_path, seed):
    for video in range(20):
        for frame in range(video % 4 + 1):
            name = f"clip{video}_{frame:03d}"
            write_image(tmp_path / f"voc/images/{name}.jpg", color=(10 * video, frame * 30, 0))
            write_xml(tmp_path / f"voc/xml/{name}.xml", voc_object("tram" if video % 3 else "stop"))
    folders = (tmp_path / "voc/xml", tmp_path / "voc/images", tmp_path / "data")
    data = convert(*folders, group_by=r"^(.*)_\d+", seed=seed)
    splits_of_video: dict[str, set[str]] = {}
    for name, split in split_of(data).items():
        splits_of_video.setdefault(name.split("_")[0], set()).add(split)
    assert len(splits_of_video) == 20
    assert all(len(splits) == 1 for splits in splits_of_video.values())
    assert 34 <= data.split("train").images <= 45  # of 50
    assert all(min(split.objects_per_class.values()) > 0 for split in data.splits.values())


@pytest.mark.parametrize("seed", range(5))
def test_videos_that_share_a_frame_are_in_the_same_split(tmp_path, seed):
    for video in range(12):
        for frame in range(3):
            name = f"clip{video:02d}_{frame}"
            # The last frame of each even video is the first of the next.
            number = 3 * video + frame - (video % 2 == 1 and frame == 0)
            write_image(tmp_path / f"voc/images/{name}.png", color=(5 * number, 0, 0))
            write_xml(tmp_path / f"voc/xml/{name}.xml", voc_object(), filename=f"{name}.png")
    folders = (tmp_path / "voc/xml", tmp_path / "voc/images", tmp_path / "data")
    splits = split_of(convert(*folders, split=(0.6, 0.2, 0.2), group_by=r"^(.*)_", seed=seed))
    for pair in range(0, 12, 2):
        names = [f"clip{video:02d}_{frame}.png" for video in (pair, pair + 1) for frame in range(3)]
        assert len({splits[name] for name in names}) == 1


def test_invalid_group_by_is_reported(voc):
    with pytest.raises(UserError, match="'\\(' is not a regular expression"):
        run(voc, group_by="(")
    with pytest.raises(UserError, match="cannot be combined with --split-by"):
        run(voc, group_by="x", split_by=voc)
