"""Tests `inspection.suspicious`: mistakes in annotations that a detector finds."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from helpers import conversion
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.cli import main
from tfod.detection.detector import Detector
from tfod.inspection.statistics import find_records
from tfod.inspection.suspicious import (
    LOOSE,
    MISSING,
    NOTHING,
    OTHER_CLASS,
    find_suspicious,
    warnings,
)

SIZE = (200, 100)
BOX, FAR = (20, 20, 60, 60), (120, 20, 160, 60)
SHIFTED = (35, 30, 75, 70)
IDS = {"dog": 1, "stop": 2}


def suspicious_in(tmp_path, *images):
    """Returns what is suspicious in images.

    Args:
      images: for each, its objects (name, box, more XML), and its detections (name, box, score).
        The detector's threshold is 0.5.
    """
    voc = tmp_path / "voc"
    for number, (objects, _) in enumerate(images):
        write_image(voc / f"images/{number}.png", SIZE, color=(10 * number, 0, 0))
        elements = [voc_object(*item) for item in objects]
        xml = voc / f"annotations/{number}.xml"
        write_xml(xml, *elements, filename=f"{number}.png", size=SIZE)
    data = conversion.run(voc, split=(1, 0, 0))

    def detect(pixels):
        rows = images[pixels[0, 0, 0] // 10][1]
        boxes = [
            (ymin / SIZE[1], xmin / SIZE[0], ymax / SIZE[1], xmax / SIZE[0])
            for _, (xmin, ymin, xmax, ymax), _ in rows
        ]
        return {
            "detection_boxes": np.array([boxes], np.float32).reshape(1, -1, 4),
            "detection_scores": np.array([[score for *_, score in rows]], np.float32),
            "detection_classes": np.array([[IDS[name] for name, *_ in rows]], np.float32),
            "num_detections": np.array([len(rows)], np.float32),
        }

    detector = Detector({number: name for name, number in IDS.items()}, detect, threshold=0.5)
    return find_suspicious(find_records(data.folder), detector)


def only(suspicious):
    (found,), (drawn,) = suspicious.found, suspicious.shown
    assert drawn.shape[2] == 3 and max(drawn.shape) == 360
    return found


GOOD = [("stop", BOX)], [("stop", BOX, 0.95)]


def test_good_annotations_are_not_suspicious(tmp_path):
    weak = [("stop", BOX), ("dog", FAR)], [("dog", FAR, 0.9), ("stop", BOX, 0.7), ("dog", BOX, 0.1)]
    suspicious = suspicious_in(tmp_path, GOOD, weak)
    assert not suspicious.found and not suspicious.shown and not warnings(suspicious)


def test_a_missing_box(tmp_path):
    detected = [("stop", BOX, 0.95), ("dog", FAR, 0.9), ("dog", (122, 22, 160, 60), 0.6)]
    found = only(suspicious_in(tmp_path, GOOD, ([("stop", BOX)], detected)))
    assert (found.kind, found.name, found.detected) == (MISSING, "dog", "dog")
    assert (found.split, found.source_id, found.is_annotated) == ("train", "1.png", False)
    assert found.box == pytest.approx(FAR, abs=0.01) and found.suspicion > 0.95


def test_another_class(tmp_path):
    detected = [("dog", (21, 20, 60, 60), 0.9), ("stop", BOX, 0.1)]
    found = only(suspicious_in(tmp_path, GOOD, ([("stop", BOX)], detected)))
    assert (found.kind, found.name, found.detected) == (OTHER_CLASS, "stop", "dog")
    assert found.box == BOX and found.detected_box == pytest.approx((21, 20, 60, 60), abs=0.01)
    assert found.suspicion > 0.95


def test_a_loose_box(tmp_path):
    found = only(suspicious_in(tmp_path, GOOD, ([("stop", SHIFTED)], [("stop", BOX, 0.95)])))
    assert (found.kind, found.name, found.detected) == (LOOSE, "stop", "stop")
    assert found.box == SHIFTED and 0.5 < found.suspicion < 0.8  # 1 - IoU


def test_nothing_there_is_less_suspicious_if_the_class_is_often_missed(tmp_path):
    seen, missed = ([("dog", FAR)], [("dog", FAR, 0.9)]), ([("dog", FAR)], [])
    suspicious = suspicious_in(tmp_path, GOOD, *[seen] * 9, missed)
    found = only(suspicious)
    assert (found.kind, found.name, found.detected) == (NOTHING, "dog", "")
    assert found.detected_box is None and found.suspicion == pytest.approx(0.5, abs=0.01)
    (sentence,) = warnings(suspicious)
    assert sentence.startswith("1 annotation is missing or suspicious, in 1 image;")
    assert not suspicious_in(tmp_path / "often", GOOD, seen, missed, missed, missed).found


def test_a_weakness_of_the_detector_is_less_suspicious(tmp_path):
    confused = [("stop", BOX)], [("dog", BOX, 0.9)]
    (first, *_) = suspicious_in(tmp_path, *[GOOD] * 9, confused).found
    assert first.kind == OTHER_CLASS and first.suspicion > 0.95
    often = suspicious_in(tmp_path / "often", *[GOOD] * 4, *[confused] * 6).found
    assert len(often) == 6 and max(item.suspicion for item in often) == pytest.approx(0.5, abs=0.02)


def test_a_detection_belongs_to_the_object_that_it_overlaps_most(tmp_path):
    beside = (45, 20, 85, 60)  # as two lamps of a traffic light
    objects = [("stop", BOX), ("stop", beside)]
    detected = [("stop", BOX, 0.95), ("stop", beside, 0.9)]
    assert not suspicious_in(tmp_path, (objects, detected)).found


def test_difficult_objects_are_not_compared(tmp_path):
    difficult = [("stop", BOX, "<difficult>1</difficult>")]
    assert not suspicious_in(tmp_path, GOOD, (difficult, [("dog", BOX, 0.95)])).found


@pytest.mark.long
def test_the_command_writes_the_page_and_the_list(exported, data, tmp_path):
    output = tmp_path / "page"
    model = exported / "model.tflite"
    command = ["inspect", data.folder, "--model", model, "--output", output]
    for options in ([], ["--overwrite"]):
        result = CliRunner().invoke(main, [str(word) for word in (*command, *options)])
        assert result.exit_code == 0, result.output
    # The detector is nearly untrained: it disagrees with most.
    names = (output / "images.txt").read_text().splitlines()
    page = (output / "index.html").read_text()
    assert names and len(set(names)) == len(names)
    assert "<h2>Suspicious annotations</h2>" in page and names[0] in page
    assert "mistake?" in result.stdout and names[0] in result.stdout
