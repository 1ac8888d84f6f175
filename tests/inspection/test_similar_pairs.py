"""Tests `inspection.similar_pairs`: similar images in different splits are counted and shown."""

from __future__ import annotations

import html
import itertools

import pytest

from helpers.conversion import run, split_of
from helpers.similar_files import cells, encoded, frame
from helpers.voc_files import voc_object, write_xml
from tfod.inspection import similar_pairs
from tfod.inspection.statistics import find_records


@pytest.fixture
def video_folder(tmp_path):
    """A VOC folder of 20 different images and a video of 20 frames."""
    scene = cells(99, (640, 240))
    images = {f"cells{number}": cells(number) for number in range(20)}
    images |= {f"<i>{number}": frame(scene, number) for number in range(20)}
    (tmp_path / "voc/images").mkdir(parents=True)
    for name, image in images.items():
        (tmp_path / f"voc/images/{name}.jpg").write_bytes(encoded(image))
        xml = tmp_path / f"voc/annotations/{name}.xml"
        write_xml(xml, voc_object(), filename=html.escape(f"{name}.jpg"), size=image.size)
    return tmp_path / "voc"


def test_similar_pairs_across_splits(video_folder):
    data = run(video_folder, split=(0.5, 0.25, 0.25))
    similar = similar_pairs.across_splits(find_records(data.folder))
    splits = split_of(data)
    frames = [splits[f"<i>{number}.jpg"] for number in range(20)]
    neighbors = sum(one != other for one, other in itertools.pairwise(frames))
    assert neighbors > 0
    assert set(similar.images) == {"train", "val", "test"}
    assert all(similar.images[name] <= frames.count(name) for name in similar.images)
    assert sum(similar.images.values()) >= neighbors
    assert 0 < len(similar.shown) <= similar_pairs.SHOWN
    assert len({(one.source_id, other.source_id) for one, other in similar.shown}) == len(
        similar.shown
    )
    for one, other in similar.shown:
        assert one.split == splits[one.source_id] != other.split == splits[other.source_id]
        numbers = [int(image.source_id[3:-4]) for image in (one, other)]
        assert abs(numbers[0] - numbers[1]) <= 3
        assert one.pixels.shape == other.pixels.shape == (240, 320, 3)
    [warning] = similar_pairs.warnings(similar)
    assert warning.startswith("similar images are in different splits (")
    assert f", {similar.images['val']} of val" in warning
    assert warning.endswith("convert again with --group-by similar")


def test_nothing_is_found_after_grouping(video_folder):
    data = run(video_folder, split=(0.5, 0.25, 0.25), group_by="similar")
    similar = similar_pairs.across_splits(find_records(data.folder))
    assert (sum(similar.images.values()), similar.shown) == (0, ())
    assert similar_pairs.warnings(similar) == []


def test_the_page_shows_the_pairs(video_folder, tmp_path):
    from click.testing import CliRunner

    from tfod.cli import main

    texts = {}
    for name, options in {"data": [], "grouped": ["--group-by", "similar"]}.items():
        folders = [
            "--annotations",
            video_folder / "annotations",
            "--images",
            video_folder / "images",
        ]
        arguments = ["convert", *folders, "--output", tmp_path / name, *options]
        assert CliRunner().invoke(main, list(map(str, arguments))).exit_code == 0
        folder = tmp_path / f"page_{name}"
        arguments = ["inspect", str(tmp_path / name), "--output", str(folder)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        texts[name] = (folder / "index.html").read_text(), " ".join(result.output.split())
    page, output = texts["data"]
    assert "Similar images in different splits" in page
    assert "<bdi>train</bdi>: <bdi>&lt;i&gt;" in page
    assert page.count('alt="two similar images"') > 2
    assert "convert again with --group-by similar" in output
    for text in texts["grouped"]:
        assert "similar" not in text
