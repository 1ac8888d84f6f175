"""Tests the evaluation report: image results, annotated images, confusion, report folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from lxml import html
from PIL import Image

from helpers.hand_made_detections import CAT, CLASSES, DOG, detected, truth
from tfod.annotation import Box
from tfod.cli import main
from tfod.dataset.records import read_records
from tfod.detection.coco_results import read_results
from tfod.detection.detections import detections_from_outputs
from tfod.evaluation.image_results import (
    CORRECT,
    FALSE,
    MISSED,
    TRUTH,
    draw_image_result,
    image_results,
)
from tfod.evaluation.metrics import evaluate
from tfod.evaluation.plots import BACKGROUND, confusion_table
from tfod.evaluation.report import write_report

CORRECT_CAT = ("cat", 0.9, 10, 20, 50, 80)
FALSE_CAT = ("cat", 0.7, 150, 40, 190, 90)


def test_images_are_ranked_by_their_mistakes():
    truths = [truth(CAT, DOG), truth(CAT), truth(), truth(DOG), truth(CAT), truth()]
    detections = [
        detected(CORRECT_CAT),  # the dog is missed
        detected(CORRECT_CAT, ("cat", 0.2, 150, 40, 190, 90)),  # ok at 0.5
        detected(),  # ok: no objects
        detected(FALSE_CAT),  # missed and false
        detected(CORRECT_CAT, FALSE_CAT),
        detected(("cat", 0.95, 150, 40, 190, 90)),
    ]
    ranked = image_results(evaluate(truths, detections, CLASSES.values())[1], 0.5)
    assert [(result.image, result.name) for result in ranked] == [
        (3, "ko"),
        (5, "ko"),  # one mistake like the next two, but with a higher score
        (4, "so_so"),
        (0, "so_so"),
        (1, "ok"),
        (2, "ok"),
    ]
    assert (ranked[0].objects, ranked[0].identified, ranked[0].false) == (1, 0, 1)


def has(image: np.ndarray, color: str) -> bool:
    rgb = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((image == rgb).all(axis=2).any())


def test_each_result_is_drawn_in_its_color():
    crowd = Box("cat", 100, 40, 140, 90, crowd=True)
    _, matching = evaluate(
        [truth(CAT), truth(CAT), truth(), truth(), truth(crowd)],
        [detected(CORRECT_CAT), detected(), detected(FALSE_CAT), detected(), detected()],
        CLASSES.values(),
    )
    gray = np.full((100, 200, 3), 90, np.uint8)
    drawn = [draw_image_result(gray, matching, image, 0.5) for image in range(5)]
    colors = (TRUTH, CORRECT, MISSED, FALSE)
    assert [has(drawn[0], color) for color in colors] == [True, True, False, False]
    assert [has(drawn[1], color) for color in colors] == [False, False, True, False]
    assert [has(drawn[2], color) for color in colors] == [False, False, False, True]
    np.testing.assert_array_equal(drawn[3], gray)
    assert [has(drawn[4], color) for color in colors] == [True, False, False, False]
    assert (gray == 90).all()  # the input is unchanged


def test_confusion_table_counts_classes_and_background():
    detections = [detected(("dog", 0.9, 10, 20, 50, 80), FALSE_CAT), detected(CORRECT_CAT)]
    _, matching = evaluate([truth(CAT, DOG), truth(CAT)], detections, CLASSES.values())
    table = confusion_table(matching, 0.5)
    assert table.loc["cat", "dog"] == 1
    assert table.loc["cat", "cat"] == 1
    assert table.loc["dog", BACKGROUND] == 1
    assert table.loc[BACKGROUND, "cat"] == 1
    assert table.to_numpy().sum() == 4


@pytest.fixture(scope="module")
def evaluated(data):
    """Detections on the train split, correct except in the first two images."""
    records = list(read_records(data.splits["train"].shards))
    ids = {name: class_id for class_id, name in data.classes.items()}
    detections = []
    for number, record in enumerate(records):
        truth = record.annotation
        rows = [
            (
                box.ymin / truth.height,
                box.xmin / truth.width,
                box.ymax / truth.height,
                box.xmax / truth.width,
                0.9 - 0.01 * number,
                ids[box.name],
            )
            for box in truth.objects
        ]
        if number == 0:
            rows = [(0.0, 0.0, 0.1, 0.1, 0.99, 1)]
        elif number == 1:
            rows.append((0.0, 0.0, 0.1, 0.1, 0.95, 1))
        table = np.array(rows, float).reshape(-1, 6)
        detections.append(
            detections_from_outputs(table[:, :4], table[:, 4], table[:, 5], data.classes)
        )
    truths = [record.annotation for record in records]
    return truths, detections, *evaluate(truths, detections, data.classes.values())


def test_the_folder_has_every_image_once_and_a_self_contained_page(data, evaluated, tmp_path):
    truths, detections, metrics, matching = evaluated
    output = tmp_path / "report"
    output.mkdir()
    write_report(output, Path("runs/<b>"), data, "train", detections, metrics, matching)
    assert {path.name for path in output.iterdir()} == {
        *("ko", "so_so", "ok", "report.html", "metrics.json", "detections.json")
    }
    stems = [re.sub(r"^\d{4}_", "", path.stem) for path in sorted(output.glob("*/*.jpg"))]
    assert sorted(stems) == sorted(Path(truth.source_id).stem for truth in truths)
    first, second = (Path(truth.source_id).stem for truth in truths[:2])
    assert [path.name for path in (output / "ko").iterdir()] == [f"0001_{first}.jpg"]
    assert [path.name for path in (output / "so_so").iterdir()] == [f"0001_{second}.jpg"]
    size = (truths[0].width, truths[0].height)
    assert Image.open(output / "ko" / f"0001_{first}.jpg").size == size

    written = json.loads((output / "metrics.json").read_text())
    objects = sum(len(truth.objects) for truth in truths)
    assert written["missed"] == len(truths[0].objects)
    assert (written["objects"], written["false"]) == (objects, 2)
    read = read_results(output / "detections.json", truths, data.classes)
    assert evaluate(truths, read, data.classes.values())[0].identified == metrics.identified

    page = html.fromstring((output / "report.html").read_bytes())
    assert page.xpath("string(//h1)") == f"<b> on {data.folder.name}"
    for image in page.xpath("//img"):
        assert image.get("src").startswith("data:image/") and image.get("alt")
    links = page.xpath("//a/@href")
    assert len(links) >= 2 and all((output / link).is_file() for link in links)
    assert f"{metrics.identified} objects identified" in page.text_content()
    assert (output / "report.html").stat().st_size < 5e6


def test_the_command_writes_a_report_and_overwrites_only_a_report(data, tmp_path):
    detections, output = tmp_path / "detections.json", tmp_path / "report"
    detections.write_text("[]")
    options = ["evaluate", "--data", data.folder, "--split", "val", "--output", output]
    command = [str(option) for option in (*options, "--detections", detections)]
    assert CliRunner().invoke(main, command).exit_code == 0
    (output / "ok" / "old.jpg").touch()
    refused = CliRunner().invoke(main, command)
    assert (refused.exit_code, "already exists" in refused.stderr) == (2, True)
    own_input = [*map(str, options), "--overwrite", "--detections", f"{output}/detections.json"]
    refused = CliRunner().invoke(main, own_input)
    assert f"would replace {output}/detections.json" in refused.stderr
    result = CliRunner().invoke(main, [*command, "--overwrite"])
    assert result.exit_code == 0 and f"written: {output}/report.html" in result.stdout
    assert not (output / "ok" / "old.jpg").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detections.json", "report"]
