"""Tests `similarity`: copies and frames of a video are similar, images of one kind are not."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from PIL import Image

from helpers.similar_files import OTHER, SAME, belt, cells, encoded, frame, sky
from tfod import similarity
from tfod.similarity import image_hash, similar_groups, similar_pairs


def group_count(images: list[Image.Image]) -> int:
    hashes = [image_hash(encoded(image, quality=90)) for image in images]
    assert None not in hashes
    return len(set(similar_groups(hashes)))


@pytest.mark.parametrize("draw", [cells, sky])
@pytest.mark.parametrize("change", [*SAME, *OTHER])
def test_changed_images(draw, change):
    image = draw(seed=1)
    changed = {**SAME, **OTHER}[change](image)
    assert group_count([image, changed]) == (1 if change in SAME else 2)


@pytest.mark.parametrize("draw", [cells, sky, belt])
def test_different_images_of_one_kind_stay_apart(draw):
    assert group_count([draw(seed) for seed in range(60)]) == 60


def test_frames_of_a_video_are_one_group_although_its_ends_differ():
    scene = cells(seed=1, size=(640, 240))
    frames = [frame(scene, number) for number in range(40)]
    assert group_count(frames) == 1
    assert group_count([frames[0], frames[-1]]) == 2
    assert (
        group_count([*frames, *(frame(cells(2, (640, 240)), number) for number in range(9))]) == 2
    )


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.new("RGB", (40, 30), "blue")),
        encoded(Image.linear_gradient("L"), "PNG"),
        encoded(Image.new("RGBA", (40, 30), (0, 0, 0, 0)), "PNG"),
        encoded(cells(1))[:2000],
        b"no image",
    ],
    ids=["one color", "gradient", "transparent", "truncated", "no image"],
)
def test_images_that_cannot_be_compared_are_similar_to_nothing(data):
    assert image_hash(data) is None
    assert similar_groups([None, None, image_hash(encoded(cells(1)))]) == [0, 1, 2]


def test_file_format_and_mode_do_not_matter():
    image = cells(1)
    files = [
        encoded(image, "PNG"),
        encoded(image, quality=95),
        encoded(image.convert("RGBA"), "PNG"),
        encoded(image.convert("L"), quality=95),
        encoded(image.convert("CMYK"), quality=95),
        encoded(image.quantize(64), "PNG"),
    ]
    assert similar_groups(list(map(image_hash, files))) == [0] * len(files)


def near(value: bytes, bits: int, rng: random.Random) -> bytes:
    """Flips some bits."""
    number = int.from_bytes(value, "big")
    for bit in rng.sample(range(256), bits):
        number ^= 1 << bit
    return number.to_bytes(32, "big")


@pytest.mark.parametrize("tile", [1, 7, 1000])
def test_pairs_are_exact_for_any_tile(monkeypatch, tile):
    monkeypatch.setattr(similarity, "TILE", tile)
    rng = random.Random(0)
    hashes: list[bytes | None] = [rng.randbytes(32) for _ in range(20)]
    for distance in (0, 1, similarity.MAX_DISTANCE, similarity.MAX_DISTANCE + 1, 100):
        hashes += [near(hashes[distance % 20], distance, rng), None]
    expected = {
        (i, j, (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count())
        for i, a in enumerate(hashes)
        for j, b in enumerate(hashes[i + 1 :], i + 1)
        if a and b
    }
    expected = {pair for pair in expected if pair[2] <= similarity.MAX_DISTANCE}
    found = [
        pair
        for pairs in similar_pairs(hashes)
        for pair in zip(*map(np.ndarray.tolist, pairs), strict=True)
    ]
    assert (len(found), set(found)) == (len(expected), expected)
    assert len(expected) >= 3


def test_groups_are_those_of_single_linkage(monkeypatch):
    monkeypatch.setattr(similarity, "TILE", 16)
    rng = random.Random(1)
    hashes, expected = [], []
    for group, size in enumerate((1, 2, 5, 30, 60)):
        value = rng.randbytes(32)
        for _ in range(size):
            hashes.append(value)
            expected.append(group)
            value = near(value, 40, rng)
    order = rng.sample(range(len(hashes)), len(hashes))
    groups = similar_groups([hashes[index] for index in order])
    firsts: dict[int, int] = {}
    for place, index in enumerate(order):
        assert groups[place] == firsts.setdefault(expected[index], place)


def test_pairs_in_tables_are_those_of_all_comparisons(monkeypatch):
    """Copies, frames and chance: nearly all pairs are found, and none that is not similar."""
    rng = random.Random(2)
    hashes: list[bytes | None] = [rng.randbytes(32) for _ in range(3000)]
    for index in range(600):  # 50 pairs of each distance
        hashes.append(near(hashes[index], 5 * (index // 50), rng))
    hashes += [None, *[hashes[0]] * 200]  # many copies

    def pairs() -> dict[tuple[int, int], int]:
        return {
            (min(i, j), max(i, j)): distance
            for part in similar_pairs(hashes)
            for i, j, distance in zip(*map(np.ndarray.tolist, part), strict=True)
        }

    exact, groups = pairs(), len(set(similar_groups(hashes)))
    monkeypatch.setattr(similarity, "EXACT", 100)
    found = pairs()
    assert found.items() <= exact.items()
    of_pairs = {pair: distance for pair, distance in exact.items() if pair[1] < 3600}
    close = {pair for pair, distance in of_pairs.items() if distance <= 45}
    assert len(close) >= 500 and close <= found.keys()
    assert len(found.keys() & of_pairs.keys()) > 0.9 * len(of_pairs)
    assert groups <= len(set(similar_groups(hashes))) <= groups + 20


def test_progress_of_tables_grows_evenly_to_the_number_of_images(monkeypatch):
    monkeypatch.setattr(similarity, "EXACT", 100)
    rng, reports = random.Random(3), []
    similar_groups([rng.randbytes(32) for _ in range(200)], lambda *report: reports.append(report))
    done = [number for _, number, _ in reports]
    assert {(stage, total) for stage, _, total in reports} == {("find similar", 200)}
    assert (done[0], done[-1]) == (0, 200)
    assert {later - earlier for earlier, later in itertools.pairwise(done)} <= {*range(1, 30)}


def test_no_hashes():
    assert similar_groups([]) == [] and list(similar_pairs([None])) == []


@pytest.mark.parametrize(("name", "groups"), [("bccd", 291), ("roadsign", 703)])
def test_public_images(shared, name, groups):
    """BloodImage_00037 and _00038 are one view; road42 and 48, 24 and 46, 33 and 34, 60 and 80."""
    files = sorted((shared / name / "images").iterdir())
    assert len(set(similar_groups([image_hash(path.read_bytes()) for path in files]))) == groups
