"""Tests `tfod convert --tiles`: train and val are cut into tiles, test stays whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.conversion import run
from helpers.files import contents
from helpers.voc_files import voc_object, write_xml
from tfod.annotation import Annotation, Box
from tfod.cli import main
from tfod.conversion.tiling import cut_into_tiles
from tfod.dataset.manifest import Dataset, load_dataset
from tfod.dataset.records import read_records
from tfod.images import load_rgb
from tfod.tiles import Tiles

SIZE = (300, 200)
TILES = Tiles(100)  # an image has 4 x 3 of them
BOX = (150, 120, 162, 130)  # whole in some tiles, and cut by none


def write_noise(path: Path, seed: int, size=SIZE) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def large(tmp_path) -> Path:
    """Ten large PNG images with one small object each, and two without."""
    for number in range(12):
        write_noise(tmp_path / f"voc/images/{number}.png", number)
        objects = [voc_object("bird", BOX)] * (number < 10)
        xml = tmp_path / f"voc/annotations/{number}.xml"
        write_xml(xml, *objects, filename=f"{number}.png", size=SIZE)
    return tmp_path / "voc"


def annotation(*boxes: Box, width=300, height=200) -> Annotation:
    return Annotation(Path("a.xml"), Path("a.png"), width, height, boxes, "birds/a.png")


def test_records_are_tiles_of_their_images(large):
    data = run(large, split=(0.5, 0.25, 0.25), tiles=TILES)
    assert data.tiles == TILES
    images = {}
    for name in ("train", "val"):
        for record in read_records(data.split(name).shards):
            stem, place = Path(record.annotation.source_id).stem.split("_tile")
            x, y = map(int, place.split("_"))
            images.setdefault(stem, name)
            assert images[stem] == name  # tiles of an image are in one split
            source = load_rgb(large / "images" / f"{stem}.png")
            np.testing.assert_array_equal(
                load_rgb(record.image.data), source[y : y + 100, x : x + 100]
            )
            for box in record.annotation.objects:
                corners = np.add(box.corners, [x, y, x, y])
                clipped = np.clip(BOX, [x, y, x, y], [x + 100, y + 100, x + 100, y + 100])
                np.testing.assert_allclose(corners, clipped, atol=0.01)
                assert box.truncated == (tuple(clipped) != BOX)
    for record in read_records(data.split("test").shards):
        assert (record.annotation.width, record.annotation.height) == SIZE
        original = (large / "images" / record.annotation.source_id).read_bytes()
        assert record.image.data == original


def test_each_object_is_in_a_tile_and_empty_tiles_are_as_many(large):
    data = run(large, split=(0.5, 0.25, 0.25), tiles=TILES)
    for name in ("train", "val"):
        split = data.split(name)
        whole = [r.annotation.source_id.split("_tile")[0] for r in read_records(split.shards)]
        with_objects = split.images - split.negatives
        assert split.negatives == max(with_objects, len(set(whole)))
        found = {
            record.annotation.source_id.split("_tile")[0]
            for record in read_records(split.shards)
            if any(not box.truncated for box in record.annotation.objects)
        }
        assert found == {number for number in whole if int(number) < 10}


def test_jpeg_tiles_are_close_to_their_image(tmp_path):
    """A photo is decoded and encoded again: at a quality that changes it little."""
    smooth = np.linspace(0, 255, 300 * 200 * 3).reshape(200, 300, 3).astype(np.uint8)
    (tmp_path / "voc/images").mkdir(parents=True)
    Image.fromarray(smooth).save(tmp_path / "voc/images/0.jpg", quality=90)
    write_xml(tmp_path / "voc/annotations/0.xml", voc_object("bird", BOX), size=SIZE)
    data = run(tmp_path / "voc", split=(1, 0, 0), tiles=TILES)
    source = load_rgb(tmp_path / "voc/images/0.jpg").astype(int)
    for record in read_records(data.split("train").shards):
        x, y = map(int, Path(record.annotation.source_id).stem.split("_tile")[1].split("_"))
        tile = load_rgb(record.image.data).astype(int)
        assert record.image.format == b"jpeg"
        assert np.abs(tile - source[y : y + 100, x : x + 100]).mean() < 1.5


def test_rotated_photo_is_cut_upright(tmp_path):
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[:, :20] = 255  # left edge of the stored image: top edge of the upright one
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "voc/images").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "voc/images/0.png", exif=exif)
    write_xml(
        tmp_path / "voc/annotations/0.xml",
        voc_object("bar", (10, 0, 190, 20)),
        filename="0.png",
        size=(200, 300),
    )
    data = run(tmp_path / "voc", split=(1, 0, 0), tiles=Tiles(200))
    first = next(
        record
        for record in read_records(data.split("train").shards)
        if record.annotation.source_id == "0_tile0_0.png"
    )
    assert load_rgb(first.image.data)[:20].min() == 255
    assert load_rgb(first.image.data)[21:].max() == 0
    assert first.annotation.objects[0].corners == (10, 0, 190, 20)


def test_the_same_command_gives_the_same_bytes(large):
    first = run(large, tiles=TILES, workers=1)
    second = run(large, "again", tiles=TILES, workers=2)
    assert contents(first.folder) == contents(second.folder)


def test_box_is_left_out_where_less_than_half_is_visible():
    # Tiles begin at x = 0, 67, 133 and 200: 60 % and 40 % of the boxes are left of x = 100.
    mostly, hardly = Box("bird", 94, 10, 104, 20), Box("bird", 96, 30, 106, 40)
    split = cut_into_tiles([annotation(mostly, hardly)], TILES, seed=0)
    first = next(tile for tile in split.annotations if tile.window[:2] == (0, 0))
    assert [box.corners for box in first.objects] == [(94, 10, 100, 20)]
    assert first.objects[0].truncated
    second = next(tile for tile in split.annotations if tile.window[:2] == (67, 0))
    assert [box.corners for box in second.objects] == [(27, 10, 37, 20), (29, 30, 39, 40)]
    assert not any(box.truncated for box in second.objects)
    assert split.lost == 0


def test_objects_in_no_tile_are_counted():
    split = cut_into_tiles([annotation(Box("road", 0, 0, 300, 200))], TILES, seed=0)
    assert (split.lost, sum(len(tile.objects) for tile in split.annotations)) == (1, 0)


def test_small_image_stays_whole():
    small = annotation(Box("bird", 1, 2, 30, 40), width=100, height=90)
    assert cut_into_tiles([small], TILES, seed=0).annotations == [small]


def test_table_lists_whole_images(large):
    """So that `--split-by` reads it."""
    data = run(large, tiles=TILES)
    table = pd.read_csv(data.folder / "annotations.csv")
    assert sorted(table["filename"]) == sorted(f"{number}.png" for number in range(12))
    again = run(large, "again", tiles=TILES, split_by=data.folder / "annotations.csv")
    assert {name: split.images for name, split in again.splits.items()} == {
        name: split.images for name, split in data.splits.items()
    }


def test_command_reports_tiles(large):
    arguments = ["convert", "--annotations", large / "annotations", "--images", large / "images"]
    arguments += ["--output", large / "data", "--split", "0.75,0.25,0"]
    result = CliRunner().invoke(main, list(map(str, [*arguments, "--tiles", 100])))
    assert result.exit_code == 0, result.output
    assert "cut 9 images of train into" in result.output
    manifest = json.loads((large / "data/dataset.json").read_text())
    assert manifest["tiles"] == {"size": 100, "overlap": 0.2}
    assert isinstance(load_dataset(large / "data"), Dataset)

    result = CliRunner().invoke(main, list(map(str, [*arguments, "--tile-overlap", 0.3])))
    assert result.exit_code == 2
    assert "--tile-overlap: needs --tiles" in result.output


def test_damaged_manifest_is_one_line(large):
    data = run(large, tiles=TILES)
    path = data.folder / "dataset.json"
    for wrong in ({"size": 1}, {"edge": 100}, [100], "100"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tiles": wrong}))
        result = CliRunner().invoke(main, ["inspect", str(data.folder)])
        assert result.exit_code == 2
        assert "is damaged" in result.output


def test_tiles_are_suggested_for_small_objects(large):
    """Boxes of 12 x 10 pixels are large in these images, and small in those of nine megapixels."""
    assert "object too small" not in {remark.kind for remark in run(large).remarks}
    for number in range(12):
        Image.new("RGB", (3000, 3000), (number, 0, 0)).save(large / f"images/{number}.png")
        xml = large / f"annotations/{number}.xml"
        xml.write_text(xml.read_text().replace("300", "3000").replace("200", "3000"))
    (remark,) = (r for r in run(large, "again").remarks if r.kind == "object too small")
    assert remark.count == 10
    assert remark.what.endswith("convert with --tiles 320")
    tiled = run(large, "tiled", tiles=Tiles(320))
    assert "object too small" not in {remark.kind for remark in tiled.remarks}
