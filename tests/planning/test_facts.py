"""Tests `planning.facts`: the fingerprint of a data set."""

from __future__ import annotations

import psutil
import pytest

from helpers import conversion
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.errors import UserError
from tfod.planning.facts import ASSUMED_GPU_MEMORY, data_facts, gpu_memory, machine_facts


def convert(tmp_path, *images: list[str]):
    """Converts images of 200 x 100 pixels with these objects, all into train."""
    for number, objects in enumerate(images):
        write_image(tmp_path / f"voc/images/{number}.png", (200, 100), color=(number, 0, 0))
        write_xml(
            tmp_path / f"voc/annotations/{number}.xml",
            *objects,
            filename=f"{number}.png",
            size=(200, 100),
        )
    return conversion.run(tmp_path / "voc", split=(1, 0, 0))


def test_sides_are_those_of_the_square_input(tmp_path):
    # 20 x 10 pixels of 200 x 100 are a square of a tenth of the input's edges.
    facts = data_facts(convert(tmp_path, [voc_object("a", (10, 10, 30, 20))]))
    assert facts.images == 1
    assert facts.small_side == pytest.approx(0.1)
    assert facts.boxes.tolist() == [pytest.approx([0.1, 0.05, 0.2, 0.15])]


def test_classes_are_counted_by_image(tmp_path):
    facts = data_facts(
        convert(
            tmp_path,
            [voc_object("a", (0, 0, 20, 20)), voc_object("a", (40, 40, 60, 60))],
            [voc_object("a", (0, 0, 20, 20)), voc_object("b", (40, 40, 60, 60))],
            [voc_object("a", (0, 0, 20, 20))],
        )
    )
    assert dict(facts.images_with) == {"a": 3, "b": 1}
    assert (facts.imbalance, facts.most_objects) == (3, 2)


def test_overlaps_of_the_same_and_of_other_classes_are_told_apart(tmp_path):
    box, near, far = (0, 0, 40, 40), (4, 4, 44, 44), (100, 50, 140, 90)
    facts = data_facts(
        convert(
            tmp_path,
            [voc_object("a", box), voc_object("a", near)],
            [voc_object("a", box), voc_object("b", near)],
            [voc_object("a", box), voc_object("b", far)],
        )
    )
    assert facts.overlap_same == pytest.approx(2 / 6)
    assert facts.overlap_other == pytest.approx(2 / 6)


def test_data_without_objects_in_train_cannot_be_planned(tmp_path):
    voc = tmp_path / "voc"
    for number, objects in enumerate([[], [], [voc_object()]]):
        write_image(voc / f"images/{number}.png", color=(number, 0, 0))
        write_xml(voc / f"annotations/{number}.xml", *objects, filename=f"{number}.png")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("0\n1\n")
    (lists / "val.txt").write_text("2\n")
    data = conversion.run(voc, split_by=lists)
    with pytest.raises(UserError, match="has no objects to train on"):
        data_facts(data)


@pytest.mark.parametrize(
    ("limit", "memory"),
    [("2000000000", 2.0), ("max", None), ("9" * 18, None), (None, None)],
)
def test_memory_is_that_of_the_container(tmp_path, monkeypatch, limit, memory):
    path = tmp_path / "memory.max"
    monkeypatch.setattr("tfod.planning.facts.CONTAINER_MEMORY", path)
    if limit is not None:
        path.write_text(f"{limit}\n")
    expected = memory or psutil.virtual_memory().total / 1e9
    assert machine_facts().memory == expected


@pytest.mark.parametrize(
    ("script", "memory"),
    [
        ("echo 15360; echo 24576", 15360 * 2**20),  # a T4 and a larger GPU
        ("echo '[N/A]'", ASSUMED_GPU_MEMORY),
        ("true", ASSUMED_GPU_MEMORY),
        ("exit 9", ASSUMED_GPU_MEMORY),
        (None, ASSUMED_GPU_MEMORY),
    ],
)
def test_memory_of_the_smallest_gpu_counts(script, memory, tmp_path, monkeypatch):
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() == memory
