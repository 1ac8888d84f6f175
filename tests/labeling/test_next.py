"""Tests `tfod next`: which images it chooses, its page, and that `tfod label` opens them."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.similar_files import cells, frame
from helpers.voc_files import voc_object, write_xml
from tfod.cli import main
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.labeling.folder import LabelFolder
from tfod.labeling.next_images import choose_images, doubt_by_class, reason

THRESHOLD = 0.4
LABELS = {1: "stop", 2: "dog"}


class Folder:
    """A folder of images, and a detector that finds in each what the test says."""

    def __init__(self, path):
        self.path, self.found = path, {}
        self.detector = Detector(LABELS, self._detect, threshold=THRESHOLD)

    def add(self, name, image, *found):
        """Adds an image with detections (score, class id); labeled with the classes in `found`."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        image.convert("RGB").save(self.path / name)
        self.found[np.asarray(image.convert("RGB")).tobytes()] = found

    def label(self, name, image, *names):
        self.add(name, image)
        objects = [voc_object(name, (10, 10, 50, 50)) for name in names]
        write_xml((self.path / name).with_suffix(".xml"), *objects, size=image.size)

    def choose(self, count):
        folder = LabelFolder(self.path)
        return [folder.names[c.number] for c in choose_images(folder, self.detector, count)]

    def _detect(self, pixels):
        found = self.found[pixels.tobytes()]
        boxes = [[0.1 * n, 0.1, 0.1 * n + 0.1, 0.3] for n in range(len(found))]
        return {
            "detection_boxes": np.array([boxes], np.float32).reshape(1, -1, 4),
            "detection_scores": np.array([[score for score, _ in found]], np.float32),
            "detection_classes": np.array([[class_id for _, class_id in found]], np.float32),
            "num_detections": np.array([len(found)], np.float32),
        }


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "photos")


def test_images_with_the_most_doubt_come_first(folder):
    folder.add("background.png", cells(1), (0.01, 1))
    folder.add("one_doubt.png", cells(2), (THRESHOLD, 1))
    folder.add("sub/two_doubts.png", cells(3), (THRESHOLD, 1), (0.45, 1))
    folder.add("sure.png", cells(4), (0.97, 1))
    folder.label("labeled.png", cells(5), "stop")
    order = ["sub/two_doubts.png", "one_doubt.png", "sure.png", "background.png"]
    assert folder.choose(2) == order[:2]
    assert folder.choose(9) == order


def test_doubt_is_one_bit_at_the_threshold(folder):
    folder.add("a.png", cells(1), (0.9999, 1), (THRESHOLD, 2), (0.2, 1))
    (chosen,) = choose_images(LabelFolder(folder.path), folder.detector, 1)
    assert chosen.doubt["dog"] == pytest.approx(1, abs=1e-4)
    assert 0.05 < chosen.doubt["stop"] < 0.6
    assert list(chosen.doubt) == ["dog", "stop"]
    assert reason(chosen).startswith("dog 1.0, stop 0.")
    assert doubt_by_class(chosen.detections, THRESHOLD).keys() == chosen.doubt.keys()


def test_frames_that_resemble_a_chosen_or_labeled_one_are_left_out(folder):
    scene, other = cells(1, size=(640, 240)), cells(2, size=(640, 240))
    for number in range(3):
        folder.add(f"video{number}.png", frame(scene, number), (THRESHOLD, 1), (THRESHOLD, 2))
        folder.add(f"seen{number}.png", frame(other, number), (THRESHOLD, 1), (THRESHOLD, 2))
    folder.label("before.png", frame(other, 3), "stop")
    folder.add("still.png", cells(3), (0.5, 1))
    video, still = folder.choose(7)
    assert video.startswith("video") and still == "still.png"


def test_a_class_with_few_labels_counts_more(folder):
    folder.label("labeled.png", cells(1), *["stop"] * 30, "dog")
    folder.add("a.png", cells(2), (THRESHOLD, 1), (THRESHOLD, 1))
    folder.add("b.png", cells(3), (THRESHOLD, 2))
    assert folder.choose(2) == ["b.png", "a.png"]


def test_the_doubts_are_spread_over_the_classes(folder):
    for number in range(3):
        folder.add(f"a{number}.png", cells(number), (THRESHOLD, 1), (THRESHOLD, 1))
    folder.add("b.png", cells(5), (THRESHOLD, 2))
    assert folder.choose(2) == ["a0.png", "b.png"]


@pytest.mark.parametrize("count", [1, 5])
def test_images_without_details_are_chosen_too(folder, count):
    for number in range(2):
        folder.add(f"{number}.png", Image.new("RGB", (64, 64 + number)), (THRESHOLD, 1))
    assert folder.choose(count) == ["0.png", "1.png"][:count]


def tfod(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.long
def test_the_command_writes_a_page_and_a_list_for_tfod_label(exported, photos, tmp_path):
    output = tmp_path / "next"
    command = ["next", photos, "--model", exported / "model.tflite", "--output", output]
    result = tfod(*command)
    assert result.exit_code == 0, result.output
    assert f"written: {output / 'index.html'}" in result.stdout
    names = (output / "images.txt").read_text().splitlines()
    assert sorted(names) == ["b.png", "sub/c.jpg"]
    page = (output / "index.html").read_text()
    assert all(name in page for name in names) and "a.jpg" not in page
    assert tfod(*command).exit_code == 2  # it exists
    (output / "notes.txt").touch()
    result = tfod(*command, "--overwrite")
    assert result.exit_code == 2 and "contains notes.txt, which" in result.stderr
    (photos / "b.xml").write_bytes((photos / "a.xml").read_bytes())
    (photos / "sub" / "c.xml").write_bytes((photos / "a.xml").read_bytes())
    assert "nothing to label: all 3 images are labeled" in tfod(*command[:4]).stdout


def test_listed_images_are_opened_in_their_order(photos):
    folder = LabelFolder(photos, only=["sub/c.jpg", "a.jpg", "sub/c.jpg"])
    assert folder.names == ("sub/c.jpg", "a.jpg")
    assert [folder.state(number).labeled for number in range(2)] == [False, True]


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "d.jpg"])
def test_a_listed_image_outside_the_folder_is_refused(photos, name):
    (photos.parent / "a.jpg").write_bytes((photos / "a.jpg").read_bytes())
    with pytest.raises(UserError, match="contains no image"):
        LabelFolder(photos, only=["a.jpg", name])


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe"])
def test_a_list_that_cannot_be_read_is_one_line(photos, tmp_path, content):
    if content is not None:
        (tmp_path / "images.txt").write_bytes(content)
    result = tfod("label", photos, "--next", tmp_path)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"tfod: {tmp_path / 'images.txt'}: ")
