"""A folder of annotations and one of images: what is checked over all of them."""

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
    """Two good annotations, one of a missing picture, one of a picture that another has."""
    for name in ("a", "b", "spare"):
        write_image(tmp_path / f"images/{name}.jpg")
    for name in ("a", "b", "c"):
        write_xml(tmp_path / f"xml/{name}.xml", voc_object())
    write_xml(tmp_path / "xml/d.xml", filename="a.jpg")
    return tmp_path


def test_faults_of_all_files_are_collected(voc):
    with pytest.raises(BadFilesError) as caught:
        read_folder(voc / "xml", voc / "images")
    assert str(caught.value) == (
        f"{voc}/xml: 2 unusable files (1 image missing, 1 image shared). "
        "Mend them, or leave them out with --skip-bad."
    )
    assert [str(error) for error in caught.value.errors] == [
        f"{voc}/xml/c.xml: no picture 'c.jpg' in {voc}/images. "
        "Add the picture, or remove its annotation.",
        f"{voc}/xml/d.xml: its picture {voc}/images/a.jpg is that of {voc}/xml/a.xml too. "
        "Remove one of the two.",
    ]


@pytest.mark.parametrize("workers", [1, 4, None])
def test_skip_bad_goes_on_with_the_good_ones(voc, workers, monkeypatch):
    monkeypatch.setattr("tfod.parallel.CHUNK", 1)
    steps = []
    checked = read_folder(
        voc / "xml",
        voc / "images",
        skip_bad=True,
        mapped=partial(ordered_map, workers=workers),
        progress=lambda *step: steps.append(step),
    )
    assert [good.source.name for good in checked.annotations] == ["a.xml", "b.xml"]
    assert [fault.kind for fault in checked.skipped] == ["image missing", "image shared"]
    assert checked.unannotated == 1
    assert steps == [("check", done, 4) for done in (1, 2, 3, 4)]


def test_folders_that_cannot_be_used(voc):
    (voc / "empty").mkdir()
    for xml, images, what in (
        ("none", "images", "none: is no folder or file"),
        ("xml", "none", "none: is no folder"),
        ("empty", "images", "empty: holds no annotations"),
    ):
        with pytest.raises(UserError, match=what):
            read_folder(voc / xml, voc / images)
    with pytest.raises(UserError, match="none of its 4 annotations can be used"):
        read_folder(voc / "xml", voc / "empty", skip_bad=True)
