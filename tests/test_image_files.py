"""Tests `image_files`: which image belongs to an annotation, and which folders are searched."""

from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

import pytest

from helpers.voc_files import write_image
from tfod.errors import FileFault, UserError
from tfod.image_files import find_images, list_files, list_images

XML = Path("a.xml")


def find(root: Path, filename: str, subfolder: str = "", other_stem: str = "") -> str:
    return list_images(root).find(XML, filename, other_stem, subfolder)


# (folder of the annotation file, image name in it, images, the image that belongs to it)
FOUND = [
    # Equal subfolders, or subfolders on one side only.
    ("", "1.jpg", ["1.jpg"], "1.jpg"),
    ("cam1", "1.jpg", ["cam1/1.jpg", "cam2/1.jpg"], "cam1/1.jpg"),
    ("cam1", "1.jpg", ["1.jpg"], "1.jpg"),
    ("cam1", "1.jpg", ["1.jpg", "cam2/2.jpg"], "1.jpg"),
    ("", "1.jpg", ["cam1/1.jpg"], "cam1/1.jpg"),
    ("", "1.jpg", ["1.jpg", "cam1/1.jpg"], "1.jpg"),
    ("", "1.jpg", ["cam1/1.jpg", "cam2/2.jpg"], "cam1/1.jpg"),
    ("day/cam1", "1.jpg", ["cam1/1.jpg", "cam2/1.jpg"], "cam1/1.jpg"),
    ("cam1", "1.jpg", ["day/cam1/1.jpg", "day/cam2/1.jpg"], "day/cam1/1.jpg"),
    ("day", "1.jpg", ["day/cam1/1.jpg", "night/cam1/1.jpg"], "day/cam1/1.jpg"),
    # Folders that say what is in them.
    ("Annotations", "1.jpg", ["JPEGImages/1.jpg"], "JPEGImages/1.jpg"),
    ("VOC2007/Annotations", "1.jpg",
     ["VOC2007/JPEGImages/1.jpg", "VOC2012/JPEGImages/1.jpg"], "VOC2007/JPEGImages/1.jpg"),
    ("labels/train", "1.jpg", ["images/train/1.jpg", "images/val/1.jpg"], "images/train/1.jpg"),
    ("train/labels", "1.jpg", ["train/images/1.jpg", "valid/images/1.jpg"], "train/images/1.jpg"),
    ("train_annotations", "1.jpg", ["Train_Images/1.jpg", "test_images/1.jpg"],
     "Train_Images/1.jpg"),
    ("labels", "1.jpg", ["images/1.jpg", "copies/1.jpg"], "images/1.jpg"),
    ("obj_train_data", "1.jpg", ["train/1.jpg"], "train/1.jpg"),
    ("annotations", "1.jpg", ["train2017/1.jpg"], "train2017/1.jpg"),
    # Folders in the image name.
    ("", "cam2/1.jpg", ["cam1/1.jpg", "cam2/1.jpg"], "cam2/1.jpg"),
    ("", "cam2/1.jpg", ["1.jpg"], "1.jpg"),
    ("", r"cam2\1.jpg", ["day/cam2/1.jpg", "day/cam1/1.jpg"], "day/cam2/1.jpg"),
    ("", "/home/me/photos/cam2/1.jpg", ["cam1/1.jpg", "cam2/1.jpg"], "cam2/1.jpg"),
    ("", r"C:\Users\me\1.jpg", ["images/1.jpg"], "images/1.jpg"),
    ("cam1", "cam2/1.jpg", ["cam1/1.jpg", "cam2/1.jpg"], "cam2/1.jpg"),
    ("train", "cam1/1.jpg", ["train/cam1/1.jpg", "val/cam1/1.jpg"], "train/cam1/1.jpg"),
    ("alice", "cam1/1.jpg", ["cam1/1.jpg", "cam2/1.jpg"], "cam1/1.jpg"),
    ("train", "images/1.jpg", ["train/1.jpg", "valid/1.jpg"], "train/1.jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("subfolder", "filename", "images", "expected"), FOUND)
def test_image_is_found_by_name_and_subfolder(tmp_path, subfolder, filename, images, expected):
    for image in images:
        write_image(tmp_path / image)
    assert find(tmp_path, filename, subfolder) == expected


# As above, with the image that must not be used.
MISSING = [
    ("cam1", "1.jpg", ["cam2/1.jpg"]),
    ("cam1", "1.jpg", ["cam2/1.jpg", "cam1/2.jpg"]),
    ("cam1", "1.jpg", ["1.jpg", "cam1/2.jpg"]),
    ("", "cam1/1.jpg", ["cam2/1.jpg"]),
    ("", "cam1/1.jpg", ["1.jpg", "cam1/2.jpg"]),
    ("", "/data/cam1/1.jpg", ["cam2/1.jpg"]),
    ("train", "cam1/1.jpg", ["val/cam1/1.jpg", "train/cam1/2.jpg"]),
    ("labels/train", "1.jpg", ["images/val/1.jpg", "images/train/2.jpg"]),
    ("train/labels", "1.jpg", ["valid/images/1.jpg"]),
    ("कि", "1.jpg", ["का/1.jpg"]),
]


@pytest.mark.parametrize(("subfolder", "filename", "images"), MISSING)
def test_image_in_another_subfolder_is_not_used(tmp_path, subfolder, filename, images):
    for image in images:
        write_image(tmp_path / image)
    for other_stem in ("", "1"):
        with pytest.raises(FileFault) as caught:
            find(tmp_path, filename, subfolder, other_stem)
        assert caught.value.kind == "image missing"
        assert f"in {tmp_path}, only {images[0]!r}. Add the image, or give" in str(caught.value)


def test_name_may_be_composed_or_decomposed(tmp_path):
    composed, decomposed = normalize("NFC", "café/ü.jpg"), normalize("NFD", "café/ü.jpg")
    for name, other in ((composed, decomposed), (decomposed, composed)):
        root = tmp_path / str(len(name))
        write_image(root / name)
        write_image(root / "ca/ü.jpg")
        assert find(root, other) == name
        folder, _, file = other.rpartition("/")
        assert find(root, file, folder) == name
        assert find(root, "", folder, Path(file).stem) == name


def test_links_to_folders_are_followed_once(tmp_path):
    root = tmp_path / "images"
    write_image(root / "b/1.jpg")
    write_image(tmp_path / "disk/2.jpg")
    write_image(tmp_path / "disk/more/3.jpg")
    for link, target in {
        "images/a": "images/b",  # inside
        "images/loop": "images",
        "images/up": ".",
        "images/disk": "disk",
        "images/z": "disk/more",  # reached by disk/more
        "disk/back": "images",
        "disk/gone": "nowhere",
        "disk/self": "disk/self",
    }.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    names = [path.relative_to(root).as_posix() for path in list_files(root, (".jpg",))]
    assert names == ["b/1.jpg", "disk/2.jpg", "disk/more/3.jpg"]
    assert find(root, "2.jpg") == "disk/2.jpg"


def test_folder_that_cannot_be_listed_is_reported(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"cannot be listed: Permission denied\. Check"):
        list_files(tmp_path, (".jpg",))


def test_masks_of_voc_are_not_images(tmp_path):
    for name in ("JPEGImages/1.jpg", "SegmentationClass/1.png", "SegmentationObject/1.png"):
        write_image(tmp_path / name)
    assert list(list_images(tmp_path)) == ["JPEGImages/1.jpg"]
    assert find_images([tmp_path]) == [tmp_path / "JPEGImages/1.jpg"]
    assert find_images([tmp_path / "SegmentationClass"]) == [tmp_path / "SegmentationClass/1.png"]
