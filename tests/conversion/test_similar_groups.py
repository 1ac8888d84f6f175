"""Tests `--group-by similar`: images that nearly repeat each other are in one split."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from helpers.conversion import run, split_of
from helpers.files import contents
from helpers.similar_files import SAME, SIZE, cells, encoded, frame
from helpers.voc_files import voc_object, write_xml
from tfod.cli import main
from tfod.errors import UserError


def write(voc, name, image, exif=None):
    path = voc / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix == ".png" else "JPEG"
    path.write_bytes(encoded(image, kind, **({"exif": exif} if exif else {})))
    write_xml(voc / f"annotations/{path.stem}.xml", voc_object(), filename=name, size=image.size)


@pytest.fixture
def cell_folder(tmp_path):
    """A VOC folder of 24 different images, 8 copies of one of them, and a video of 8 frames."""
    voc = tmp_path / "voc"
    for number in range(24):
        write(voc, f"cells{number:02}.jpg", cells(number))
    for number, change in enumerate(list(SAME.values())[:8]):
        write(voc, f"copy{number}.{'png' if number % 2 else 'jpg'}", change(cells(0)))
    scene = cells(99, (640, 240))
    for number in range(8):
        write(voc, f"video{number}.jpg", frame(scene, number))
    return voc


def splits_of_similar(data) -> list[set[str]]:
    """Returns the splits of the copies and of the frames."""
    splits = split_of(data)
    names = ("cells00", "copy"), ("video",)
    return [{splits[name] for name in splits if name.startswith(group)} for group in names]


def test_similar_groups_are_in_one_split_and_a_remark_counts_them(cell_folder):
    assert max(map(len, splits_of_similar(run(cell_folder)))) > 1
    data = run(cell_folder, "grouped", group_by="similar")
    assert list(map(len, splits_of_similar(data))) == [1, 1]
    assert all(abs(data.split(name).images - 4) <= 2 for name in ("val", "test"))
    [remark] = data.remarks
    assert (remark.kind, remark.count) == ("image similar", 17)
    assert remark.what == (
        "17 images are similar to another, in 2 groups of up to 9 (cells00.jpg, copy0.jpg, "
        "copy1.png, …); similar images go into the same split"
    )


def test_a_bar_shows_the_progress_of_a_long_comparison(cell_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tfod.similarity.EXACT", 20)
    folders = ["--annotations", cell_folder / "annotations", "--images", cell_folder / "images"]
    for command in (
        ["convert", *folders, "--output", tmp_path / "data", "--group-by", "similar"],
        ["inspect", tmp_path / "data"],
    ):
        result = CliRunner().invoke(main, list(map(str, command)))
        assert result.exit_code == 0, result.output
        assert "find similar: 100%" in result.stderr and "40/40" in result.stderr


def test_the_result_does_not_depend_on_the_number_of_processes(cell_folder, monkeypatch):
    monkeypatch.setattr("tfod.parallel.CHUNK", 8)
    folders = [run(cell_folder, f"data{n}", group_by="similar", workers=n).folder for n in (1, 2)]
    assert contents(folders[0]) == contents(folders[1])


def test_rotated_image_is_similar_to_an_upright_copy(tmp_path):
    from PIL import Image

    upright = Image.Exif()
    upright[0x0112] = 6
    for number in range(9):
        write(tmp_path / "voc", f"cells{number}.jpg", cells(number))
    turned = cells(0).transpose(Image.Transpose.ROTATE_90)
    write(tmp_path / "voc", "turned.jpg", turned, upright)
    write_xml(tmp_path / "voc/annotations/turned.xml", voc_object(), size=SIZE)
    [remark] = run(tmp_path / "voc", group_by="similar").remarks
    assert "(cells0.jpg, turned.jpg)" in remark.what


def test_different_images_give_the_split_without_the_option(tmp_path):
    for number in range(12):
        write(tmp_path / "voc", f"cells{number}.jpg", cells(number))
    plain, grouped = (run(tmp_path / "voc", f"{by}", group_by=by) for by in (None, "similar"))
    assert contents(grouped.folder) == contents(plain.folder)


def test_a_large_group_is_pointed_out(tmp_path):
    scene = cells(1, (640, 240))
    for number in range(8):
        write(tmp_path / "voc", f"video{number}.jpg", frame(scene, number))
    with pytest.raises(UserError) as caught:
        run(tmp_path / "voc", group_by="similar")
    assert str(caught.value) == (
        "--split: val gets no image: 8 images in 1 group are too few for 3 splits. "
        "Change --group-by, add images, or give it the fraction 0."
    )
    for number in range(4):
        write(tmp_path / "voc", f"cells{number}.jpg", cells(100 + number))
    [remark] = run(tmp_path / "voc", group_by="similar").remarks
    assert remark.what.endswith(
        "The largest group has 66.7% of all images, as of a camera that does not move: to divide "
        "it, for example by time, give --group-by a regular expression"
    )


def test_similar_cannot_be_combined_with_split_by(tmp_path):
    write(tmp_path / "voc", "cells.jpg", cells(1))
    with pytest.raises(UserError, match="--group-by: cannot be combined with --split-by"):
        run(tmp_path / "voc", group_by="similar", split_by=tmp_path / "split.csv")
