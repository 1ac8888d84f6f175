"""`predict` over files, folders and videos, and what it writes of them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from tfod.annotation.voc import read_xml
from tfod.detection import outputs
from tfod.detection.coco_results import read_results
from tfod.detection.detections import detections_from_outputs
from tfod.detection.detector import Detector
from tfod.detection.drawing import contact_sheet, draw_detections
from tfod.detection.media import find_media
from tfod.detection.prediction import predict_media
from tfod.errors import UserError

LABELS = {1: "cat", 2: "a/b"}


@pytest.fixture
def detector():
    """Finds one cat in the upper left quarter of a bright picture, and nothing in a dark one."""

    def model(pixels):
        score = 0.9 if pixels.mean() > 127 else 0.2
        return {
            "detection_boxes": np.array([[[0, 0, 0.5, 0.5]]], np.float32),
            "detection_scores": np.array([[score]], np.float32),
            "detection_classes": np.array([[1.0]], np.float32),
            "num_detections": np.array([1.0], np.float32),
        }

    return Detector(LABELS, model)


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "in"
    (pictures / "more").mkdir(parents=True)
    Image.new("RGB", (200, 100), "white").save(pictures / "bright.png")
    Image.new("RGB", (80, 120), "black").save(pictures / "dark.jpg")
    Image.new("L", (50, 50), 255).save(pictures / "more" / "bright.png")
    (pictures / "notes.txt").write_text("not a picture")
    return pictures


@pytest.fixture
def video(tmp_path):
    """Six frames, every other one bright."""
    path = tmp_path / "street.mp4"
    with sv.VideoSink(str(path), sv.VideoInfo(width=64, height=48, fps=5)) as sink:
        for number in range(6):
            sink.write_frame(np.full((48, 64, 3), 250 if number % 2 else 5, np.uint8))
    return path


def predicted(detector, inputs, write, **options):
    for found in predict_media(detector, find_media(inputs), **options):
        write(found)


def test_pictures_are_drawn_and_the_first_are_on_a_sheet(detector, folder, tmp_path):
    with outputs.drawn_pictures(tmp_path / "out", overwrite=False) as write:
        predicted(detector, [folder], write)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"bright.jpg", "bright_2.jpg", "dark.jpg", "contact_sheet.jpg"}
    assert Image.open(tmp_path / "out" / "bright.jpg").size == (200, 100)
    assert Image.open(tmp_path / "out" / "contact_sheet.jpg").size == (3 * 320, 320)


def test_csv_and_coco_results_have_pixels(detector, folder, tmp_path):
    with (
        outputs.csv_table(tmp_path / "found.csv") as to_csv,
        outputs.coco_results(tmp_path / "found.json") as to_json,
    ):
        for found in predict_media(detector, find_media([folder])):
            to_csv(found)
            to_json(found)
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    assert rows[0] == {
        **{"file": str(folder / "bright.png"), "frame": "", "width": "200", "height": "100"},
        **{"class": "cat", "score": "0.9", "xmin": "0.0", "ymin": "0.0"},
        **{"xmax": "100.0", "ymax": "50.0"},
    }
    assert len(rows) == 2
    assert json.loads((tmp_path / "found.json").read_text())[0] == {
        **{"image_id": "bright.png", "category_id": 1, "score": 0.9},
        "bbox": [0.0, 0.0, 100.0, 50.0],
    }


def test_coco_results_are_what_evaluate_reads(detector, data, sample_voc, tmp_path):
    from tfod.dataset.records import read_records

    truths = [record.annotation for record in read_records(data.splits["val"].shards)]
    path = tmp_path / "found.json"
    with outputs.coco_results(path) as write:
        for found in predict_media(
            detector,
            find_media([sample_voc / "images" / truth.source_id for truth in truths]),
            threshold=0,
        ):
            write(found)
    read = read_results(path, truths, LABELS)
    assert [each.boxes.tolist() for each in read] == [[[0, 0, 0.5, 0.5]]] * len(truths)
    with outputs.coco_results(path):
        pass
    assert json.loads(path.read_text()) == []


def test_voc_files_can_be_learnt_from(detector, folder, tmp_path):
    with outputs.voc_folder(tmp_path / "voc", overwrite=False) as write:
        predicted(detector, [folder], write)
    read = read_xml(tmp_path / "voc" / "bright.xml")
    assert (read.filename, read.size) == ("bright.png", (200, 100))
    box = read.objects[0].box
    assert (box.name, box.xmin, box.ymin, box.xmax, box.ymax) == ("cat", 0, 0, 100, 50)
    assert read_xml(tmp_path / "voc" / "dark.xml").objects == ()


def test_crops_are_the_objects_pixels(detector, folder, tmp_path):
    pixels = np.random.default_rng(0).integers(200, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    with outputs.crops(tmp_path / "crops", overwrite=False) as write:
        predicted(detector, [folder], write)
    names = {str(path.relative_to(tmp_path / "crops")) for path in tmp_path.glob("crops/*/*")}
    assert names == {"cat/bright.png", "cat/bright_2.png", "cat/noise.png"}
    cut = np.asarray(Image.open(tmp_path / "crops" / "cat" / "noise.png"))
    np.testing.assert_array_equal(cut, pixels[:30, :45])


def test_a_class_named_like_a_path_stays_in_the_folder(detector, folder, tmp_path):
    sneaky = Detector({1: "../../cat"}, detector.model)
    with outputs.crops(tmp_path / "crops", overwrite=False) as write:
        predicted(sneaky, [folder / "bright.png"], write)
    assert [path.name for path in (tmp_path / "crops").iterdir()] == ["_.._cat"]


def test_a_video_comes_back_with_boxes(detector, video, tmp_path):
    (source,) = find_media([video])
    assert source.frames == 6
    seen = []
    with (
        outputs.drawn_pictures(tmp_path / "out", overwrite=False) as draw,
        outputs.coco_results(tmp_path / "found.json") as write,
    ):
        for found in predict_media(detector, [source]):
            seen.append((found.frame, len(found.detections)))
            draw(found)
            write(found)
    assert seen == [(number, number % 2) for number in range(6)]
    drawn = sv.VideoInfo.from_video_path(str(tmp_path / "out" / "street.mp4"))
    assert (drawn.total_frames, drawn.width, drawn.height) == (6, 64, 48)
    frames = list(sv.get_video_frames_generator(str(tmp_path / "out" / "street.mp4")))
    assert np.ptp(frames[0]) < 30 and np.ptp(frames[1]) > 60  # nothing in the dark one
    entries = json.loads((tmp_path / "found.json").read_text())
    assert [entry["image_id"] for entry in entries] == [
        "street.mp4#1",
        "street.mp4#3",
        "street.mp4#5",
    ]


def test_threshold_decides_what_is_reported(detector, folder):
    found = list(predict_media(detector, find_media([folder]), threshold=0.1))
    assert [len(each.detections) for each in found] == [1, 1, 1]


def test_tiles_find_what_is_small_in_a_large_picture(folder):
    """This one sees a white square only if it is large: 20 of 100 pixels are, 20 of 400 are not."""

    def model(pixels):
        rows, columns = np.nonzero((pixels == 255).all(axis=2))
        height, width = pixels.shape[:2]
        seen = len(rows) > 0 and len(rows) >= 0.03 * height * width
        box = [0, 0, 0, 0]
        if seen:
            box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        return {
            "detection_boxes": np.array([[box]], np.float32) / [height, width, height, width],
            "detection_scores": np.array([[0.8 if seen else 0.0]], np.float32),
            "detection_classes": np.array([[1.0]], np.float32),
            "num_detections": np.array([1.0], np.float32),
        }

    pixels = np.zeros((400, 300, 3), np.uint8)
    pixels[310:330, 120:140] = 255
    Image.fromarray(pixels).save(folder / "large.png")
    sources = find_media([folder / "large.png"])
    (whole,) = predict_media(Detector(LABELS, model), sources)
    assert len(whole.detections) == 0
    (tiled,) = predict_media(Detector(LABELS, model), sources, tiles=100)
    assert tiled.detections.names == ("cat",)
    boxes = tiled.detections.to_pixels_xyxy(300, 400)
    np.testing.assert_allclose(boxes, [[120, 310, 140, 330]], atol=0.01)


def test_broken_pictures_are_named_and_the_others_looked_at(detector, folder, tmp_path):
    for name in ("broken.png", "cut.jpg"):
        (folder / name).write_bytes((folder / "dark.jpg").read_bytes()[:300])
    faults = []
    found = list(predict_media(detector, find_media([folder]), on_fault=faults.append))
    assert [fault.path.name for fault in faults] == ["broken.png", "cut.jpg"]
    assert [each.path.name for each in found] == ["bright.png", "dark.jpg", "bright.png"]
    with pytest.raises(UserError, match=r"broken\.png: .* does not decode"):
        list(predict_media(detector, find_media([folder])))


def test_nothing_is_left_of_what_was_broken_off(detector, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    (tmp_path / "found.csv").write_text("old")
    with pytest.raises(UserError, match="exists already"):
        outputs.drawn_pictures(tmp_path / "out", overwrite=False).__enter__()
    with (
        pytest.raises(KeyboardInterrupt),
        outputs.drawn_pictures(tmp_path / "out", overwrite=True) as draw,
        outputs.csv_table(tmp_path / "found.csv") as write,
    ):
        for found in predict_media(detector, find_media([folder])):
            draw(found)
            write(found)
            raise KeyboardInterrupt
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "found.csv"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]
    assert (tmp_path / "found.csv").read_text() == "old"


def test_inputs_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        find_media([tmp_path / "nowhere.jpg"])
    with pytest.raises(UserError, match="holds no pictures"):
        find_media([tmp_path])
    with pytest.raises(UserError, match="is not there"):
        find_media([tmp_path / "nowhere.mp4"])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="cannot be opened as a video"):
        find_media([tmp_path / "broken.mp4"])


def test_drawing_marks_the_box_and_leaves_the_rest():
    pixels = np.full((200, 300, 3), 90, np.uint8)
    found = detections_from_outputs(
        np.array([[0.5, 0.5, 0.9, 0.9]]), np.array([0.8]), np.array([1]), LABELS
    )
    drawn = draw_detections(pixels, found)
    changed = (drawn != pixels).any(axis=2)
    assert changed[100:180, 150].mean() > 0.9  # the left edge, from top to bottom
    assert not changed[190:].any() and not changed[:, :140].any()
    assert not changed[120:160, 170:250].any()  # inside the box
    assert (pixels == 90).all()


def test_a_sheet_fits_every_picture_into_its_tile():
    pictures = [np.full((h, w, 3), 200, np.uint8) for h, w in ((10, 400), (400, 10), (50, 50))]
    assert contact_sheet(pictures, columns=2, tile=100).size == (200, 200)
