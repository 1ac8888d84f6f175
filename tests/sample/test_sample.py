"""Tests `sample`: scenes are repeatable, labels are correct, and output is complete or absent."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.files import contents
from tfod.annotation import CORNERS, Box
from tfod.errors import UserError
from tfod.files import LOCK
from tfod.sample import sample
from tfod.sample import scene as sample_scene
from tfod.sample.signs import Canvas
from tfod.sample.view import LIGHTINGS, STREET, Scene

CLASSES = {"speedlimit", "stop", "crosswalk", "trafficlight"}


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Image.Image, list[Box]]]:
    return [sample_scene.make_scene(0, index) for index in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sample") / "voc"
    sample.write_sample(output, count=6, seed=3)
    return output


def test_same_seed_gives_identical_files(folder: Path, tmp_path: Path) -> None:
    sample.write_sample(tmp_path / "again", count=6, seed=3)
    assert contents(tmp_path / "again") == contents(folder)


def test_smaller_count_gives_the_first_images(folder: Path, tmp_path: Path) -> None:
    sample.write_sample(tmp_path / "few", count=2, seed=3)
    assert contents(tmp_path / "few").items() < contents(folder).items()


def test_seed_and_index_change_the_image(scenes) -> None:
    others = [sample_scene.make_scene(1, 0)[0], scenes[1][0]]
    assert all(other.tobytes() != scenes[0][0].tobytes() for other in others)


def test_boxes_are_whole_pixels_inside_the_image(scenes) -> None:
    for image, boxes in scenes:
        for box in boxes:
            edges = (box.xmin, box.ymin, box.xmax, box.ymax)
            assert all(isinstance(edge, int) for edge in edges)
            assert 0 <= box.xmin < box.xmax <= image.width
            assert 0 <= box.ymin < box.ymax <= image.height
            assert (box.xmax - box.xmin) * (box.ymax - box.ymin) >= 80


def test_signs_do_not_cover_each_other(scenes) -> None:
    for _, boxes in scenes:
        for a, b in itertools.combinations(boxes, 2):
            width = min(a.xmax, b.xmax) - max(a.xmin, b.xmin)
            height = min(a.ymax, b.ymax) - max(a.ymin, b.ymin)
            assert width <= 0 or height <= 0


def test_only_boxes_at_the_border_are_truncated(scenes) -> None:
    for image, boxes in scenes:
        for box in boxes:
            at_border = box.xmin == 0 or box.ymin == 0
            at_border |= box.xmax == image.width or box.ymax == image.height
            assert at_border or not box.truncated


def test_all_classes_appear_and_none_dominates(scenes) -> None:
    counts = Counter(box.name for _, boxes in scenes for box in boxes)
    assert set(counts) == CLASSES
    assert max(counts.values()) < 4 * min(counts.values())


def test_signs_are_small_and_large(scenes) -> None:
    sides = [max(b.xmax - b.xmin, b.ymax - b.ymin) for _, boxes in scenes for b in boxes]
    assert min(sides) < 35
    assert max(sides) > 110


def test_some_images_contain_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    # The street and the camera take most of the time but do not change the number of signs.
    monkeypatch.setattr(sample_scene, "draw_street", lambda scene: None)
    monkeypatch.setattr(sample_scene, "_photograph", lambda scene: None)
    empty = sum(not sample_scene.make_scene(0, index)[1] for index in range(80))
    assert 1 <= empty <= 15


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_box_is_tight_around_the_face(name: str) -> None:
    """On plain green, the face is in the outermost rows and columns of the box, but not beyond."""
    green = np.array((0, 255, 0))
    for seed in range(12):
        rng = np.random.default_rng(seed)
        canvas = Canvas("RGB", 400, 300, sample_scene.SUPERSAMPLE)
        canvas.rectangle((0, 0, 400, 300), tuple(green.tolist()))
        scene = Scene(STREET, canvas, rng, LIGHTINGS[0], 400, 300, 200, 150, 400)
        sign = sample_scene._place_sign(scene, name, [])
        assert sign is not None
        canvas.image.paste(sign.image, sign.corner, sign.image)
        pixels = np.asarray(canvas.image.reduce(sample_scene.SUPERSAMPLE), int)
        # Padded, because a box cut by the image border has no row outside it.
        diff = np.pad(np.abs(pixels - green).max(axis=2), 1)
        left, top, right, bottom = sign.box
        inside = (diff[top + 1], diff[bottom], diff[:, left + 1], diff[:, right])
        outside = (diff[top], diff[bottom + 1], diff[:, left], diff[:, right + 1])
        # A box encloses the pixels that the face covers by at least half. Blue is the face color
        # closest to green, with a difference of 173; the largest possible difference is 255.
        assert min(line.max() for line in inside) > 75
        assert max(line.max() for line in outside) < 135


def test_each_image_has_an_annotation_file(folder: Path) -> None:
    names = [f"scene{index:04d}" for index in range(6)]
    assert sorted(path.name for path in folder.iterdir()) == ["annotations", "images"]
    assert sorted(p.name for p in (folder / "images").iterdir()) == [f"{n}.jpg" for n in names]
    assert sorted(p.name for p in (folder / "annotations").iterdir()) == [f"{n}.xml" for n in names]


def test_xml_contains_the_boxes_of_the_scene(folder: Path) -> None:
    for index in range(6):
        _, boxes = sample_scene.make_scene(3, index)
        root = ET.parse(folder / "annotations" / f"scene{index:04d}.xml").getroot()
        assert root.findtext("folder") == "images"
        assert root.findtext("segmented") == "0"
        with Image.open(folder / "images" / root.findtext("filename", "")) as image:
            assert image.format == "JPEG"
            size = [int(root.findtext(f"size/{tag}", "")) for tag in ("width", "height", "depth")]
            assert size == [*image.size, 3]
        objects = [
            Box(
                entry.findtext("name", ""),
                *(int(entry.findtext(f"bndbox/{edge}", "")) for edge in CORNERS),
                difficult=entry.findtext("difficult") == "1",
                truncated=entry.findtext("truncated") == "1",
                pose=entry.findtext("pose", ""),
            )
            for entry in root.iter("object")
        ]
        assert objects == boxes
        assert all(entry.findtext("occluded") == "0" for entry in root.iter("object"))


def test_folder_with_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="already exists"):
        sample.write_sample(tmp_path, count=1)
    assert contents(tmp_path) == {"mine.txt": b"keep"}
    with pytest.raises(UserError, match="already exists"):
        sample.write_sample(tmp_path / "mine.txt", count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_empty_folder_and_leftovers_of_a_killed_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc.partial" / "images").mkdir(parents=True)
    (tmp_path / "voc.partial" / "images" / "scene9999.jpg").touch()
    (tmp_path / "voc.partial" / LOCK).touch()
    sample.write_sample(tmp_path / "voc", count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]
    assert set(contents(tmp_path / "voc")) == {
        "images/scene0000.jpg",
        "annotations/scene0000.xml",
    }


def test_interrupted_run_leaves_no_files(tmp_path: Path) -> None:
    def interrupted(stage: str, done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.write_sample(tmp_path / "voc", count=50, progress=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_all_images(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    sample.write_sample(
        tmp_path / "deep" / "voc", count=3, progress=lambda *step: steps.append(step)
    )
    assert steps == [("scenes", done, 3) for done in range(4)]


def test_large_scenes_have_small_signs(tmp_path: Path) -> None:
    sample.write_sample(tmp_path / "voc", count=1, large=True)
    root = ET.parse(tmp_path / "voc/annotations/scene0000.xml").getroot()
    with Image.open(tmp_path / "voc/images/scene0000.jpg") as image:
        assert image.width > 2900
        assert image.height > 1900
    boxes = [[int(entry.findtext(edge, "")) for edge in CORNERS] for entry in root.iter("bndbox")]
    assert len(boxes) >= 3
    for xmin, ymin, xmax, ymax in boxes:
        assert 5 <= max(xmax - xmin, ymax - ymin) <= 28  # up to a sixth more by perspective
