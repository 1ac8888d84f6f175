"""Tests `conversion.annotation_folder`: the checks of complete folders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from helpers.voc_files import voc_object, write_image, write_xml
from tfod.conversion.annotation_folder import read_folder
from tfod.errors import BadFilesError, UserError
from tfod.parallel import ordered_map


@pytest.fixture
def voc(tmp_path) -> Path:
    """Two good annotations, one without its image, and one that shares the image of another."""
    for name in ("a", "b", "spare"):
        write_image(tmp_path / f"images/{name}.jpg")
    for name in ("a", "b", "c"):
        write_xml(tmp_path / f"xml/{name}.xml", voc_object())
    write_xml(tmp_path / "xml/d.xml", filename="a.jpg")
    return tmp_path


def test_faults_of_all_files_are_reported(voc):
    with pytest.raises(BadFilesError) as caught:
        read_folder(voc / "xml", voc / "images")
    assert str(caught.value) == (
        f"{voc}/xml: 2 unusable files (1 image missing, 1 image shared). "
        "Fix them, or skip them with --skip-bad."
    )
    assert [str(error) for error in caught.value.errors] == [
        f"{voc}/xml/c.xml: no image 'c.jpg' in {voc}/images. "
        "Add the image, or remove its annotation.",
        f"{voc}/xml/d.xml: its image {voc}/images/a.jpg already belongs to {voc}/xml/a.xml. "
        "Remove one of the two.",
    ]


@pytest.mark.parametrize("workers", [1, 4, None])
def test_skip_bad_uses_the_files_without_faults(voc, workers, monkeypatch):
    monkeypatch.setattr("tfod.parallel.CHUNK", 1)
    steps = []
    checked = read_folder(
        voc / "xml",
        voc / "images",
        skip_bad=True,
        map_function=partial(ordered_map, workers=workers),
        progress=lambda *step: steps.append(step),
    )
    assert [annotation.source.name for annotation in checked.annotations] == ["a.xml", "b.xml"]
    assert [fault.kind for fault in checked.skipped] == ["image missing", "image shared"]
    assert checked.unannotated == 1
    assert steps == [("check", done, 4) for done in (1, 2, 3, 4)]


def test_missing_and_empty_folders_are_reported(voc):
    (voc / "empty").mkdir()
    for xml, images, message in (
        ("none", "images", "none: does not exist"),
        ("xml", "none", "none: is not a folder. Give the folder of the images"),
        ("empty", "images", "empty: contains no annotations"),
    ):
        with pytest.raises(UserError, match=message):
            read_folder(voc / xml, voc / images)
    with pytest.raises(UserError, match="none of its 4 annotations can be used"):
        read_folder(voc / "xml", voc / "empty", skip_bad=True)
