"""Tests prediction on files, folders and videos, and the output writers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from helpers.files import contents
from helpers.video_files import gray, write_video
from tfod.annotation.voc import read_xml
from tfod.detection import outputs
from tfod.detection.coco_results import read_results
from tfod.detection.detections import detections_from_outputs
from tfod.detection.detector import Detector
from tfod.detection.drawing import contact_sheet, draw_detections
from tfod.detection.media import find_media
from tfod.detection.prediction import Prediction, predict_media
from tfod.errors import UserError
from tfod.tiles import Tiles

LABELS = {1: "cat", 2: "a/b"}


@pytest.fixture
def detector():
    """Detects one cat in the upper left quarter of bright images, with a low score in dark ones."""

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
    images = tmp_path / "in"
    (images / "more").mkdir(parents=True)
    Image.new("RGB", (200, 100), "white").save(images / "bright.png")
    Image.new("RGB", (80, 120), "black").save(images / "dark.jpg")
    Image.new("L", (50, 50), 255).save(images / "more" / "bright.png")
    (images / "notes.txt").write_text("not an image")
    return images


@pytest.fixture
def video(tmp_path):
    """Six frames; every second one is bright."""
    path = tmp_path / "street.mp4"
    with sv.VideoSink(str(path), sv.VideoInfo(width=64, height=48, fps=5)) as sink:
        for number in range(6):
            sink.write_frame(np.full((48, 64, 3), 250 if number % 2 else 5, np.uint8))
    return path


def write_predictions(detector, inputs, write):
    for prediction in predict_media(detector, find_media(inputs)):
        write(prediction)


def test_images_are_drawn_and_put_on_a_contact_sheet(detector, folder, tmp_path):
    with outputs.drawn_images(tmp_path / "out", overwrite=False) as write:
        write_predictions(detector, [folder], write)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    sheet, marker = "contact_sheet.jpg", outputs.MARKER
    assert names == {"bright.jpg", "bright_2.jpg", "dark.jpg", sheet, marker}
    assert Image.open(tmp_path / "out" / "bright.jpg").size == (200, 100)
    assert Image.open(tmp_path / "out" / "contact_sheet.jpg").size == (3 * 320, 320)


def test_csv_and_coco_results_are_in_pixels(detector, folder, tmp_path):
    with (
        outputs.csv_table(tmp_path / "detections.csv") as to_csv,
        outputs.coco_results(tmp_path / "detections.json") as to_json,
    ):
        for prediction in predict_media(detector, find_media([folder])):
            to_csv(prediction)
            to_json(prediction)
    rows = list(csv.DictReader((tmp_path / "detections.csv").open()))
    assert rows[0] == {
        **{"file": str(folder / "bright.png"), "frame": "", "width": "200", "height": "100"},
        **{"class": "cat", "score": "0.9", "xmin": "0.0", "ymin": "0.0"},
        **{"xmax": "100.0", "ymax": "50.0"},
    }
    assert len(rows) == 2
    assert json.loads((tmp_path / "detections.json").read_text())[0] == {
        **{"image_id": "bright.png", "category_id": 1, "score": 0.9},
        "bbox": [0.0, 0.0, 100.0, 50.0],
    }


def test_evaluate_reads_coco_results(detector, data, sample_voc, tmp_path):
    from tfod.dataset.records import read_records

    truths = [record.annotation for record in read_records(data.splits["val"].shards)]
    path = tmp_path / "detections.json"
    with outputs.coco_results(path) as write:
        for prediction in predict_media(
            detector,
            find_media([sample_voc / "images" / truth.source_id for truth in truths]),
            threshold=0,
        ):
            write(prediction)
    read = read_results(path, truths, LABELS)
    assert [detections.boxes.tolist() for detections in read] == [[[0, 0, 0.5, 0.5]]] * len(truths)
    with outputs.coco_results(path):
        pass
    assert json.loads(path.read_text()) == []


def test_voc_files_are_valid_annotations(detector, folder, tmp_path):
    with outputs.voc_folder(tmp_path / "voc", overwrite=False) as write:
        write_predictions(detector, [folder], write)
    read = read_xml(tmp_path / "voc" / "bright.xml")
    assert (read.filename, read.size) == ("bright.png", (200, 100))
    box = read.objects[0].box
    assert (box.name, box.xmin, box.ymin, box.xmax, box.ymax) == ("cat", 0, 0, 100, 50)
    assert read_xml(tmp_path / "voc" / "dark.xml").objects == ()


def test_crops_contain_the_pixels_of_the_objects(detector, folder, tmp_path):
    pixels = np.random.default_rng(0).integers(200, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    with outputs.crops(tmp_path / "crops", overwrite=False) as write:
        write_predictions(detector, [folder], write)
    names = {str(path.relative_to(tmp_path / "crops")) for path in tmp_path.glob("crops/*/*")}
    assert names == {"cat/bright.png", "cat/bright_2.png", "cat/noise.png"}
    crop = np.asarray(Image.open(tmp_path / "crops" / "cat" / "noise.png"))
    np.testing.assert_array_equal(crop, pixels[:30, :45])


def test_a_class_name_with_a_path_stays_in_the_output_folder(detector, folder, tmp_path):
    path_named = Detector({1: "../../cat"}, detector.model)
    with outputs.crops(tmp_path / "crops", overwrite=False) as write:
        write_predictions(path_named, [folder / "bright.png"], write)
    assert [path.name for path in tmp_path.glob("crops/*/")] == ["_.._cat"]


def test_a_video_is_written_with_boxes(detector, video, tmp_path):
    (source,) = find_media([video])
    assert source.frames == 6
    counts = []
    with (
        outputs.drawn_images(tmp_path / "out", overwrite=False) as draw,
        outputs.coco_results(tmp_path / "detections.json") as write,
    ):
        for prediction in predict_media(detector, [source]):
            counts.append((prediction.frame, len(prediction.detections)))
            draw(prediction)
            write(prediction)
    assert counts == [(number, number % 2) for number in range(6)]
    drawn = sv.VideoInfo.from_video_path(str(tmp_path / "out" / "street.mp4"))
    assert (drawn.total_frames, drawn.width, drawn.height) == (6, 64, 48)
    frames = list(sv.get_video_frames_generator(str(tmp_path / "out" / "street.mp4")))
    assert np.ptp(frames[0]) < 30 and np.ptp(frames[1]) > 60  # no box in the dark frame
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert [entry["image_id"] for entry in entries] == [
        "street.mp4#1",
        "street.mp4#3",
        "street.mp4#5",
    ]


def test_frames_before_the_end_of_a_truncated_video_are_processed(detector, tmp_path):
    video = write_video(tmp_path / "street.avi", [gray(250)] * 20, codec="rawvideo")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    faults: list[UserError] = []
    predictions = list(predict_media(detector, find_media([video]), on_fault=faults.append))
    assert [prediction.frame for prediction in predictions] == list(range(len(predictions)))
    assert 8 <= len(predictions) <= 10
    assert [fault.what for fault in faults] == [
        f"ends after {len(predictions) / 10:.1f} of 2.0 seconds"
    ]
    with pytest.raises(UserError, match="ends after"):
        list(predict_media(detector, find_media([video])))


def test_the_threshold_filters_detections(detector, folder):
    predictions = predict_media(detector, find_media([folder]), threshold=0.1)
    assert [len(prediction.detections) for prediction in predictions] == [1, 1, 1]


def test_tiles_detect_small_objects_in_large_images(folder, tmp_path):
    """The model detects a white square of 20 pixels in 100 x 100 pixels, not in 300 x 400."""

    def model(pixels):
        rows, columns = np.nonzero((pixels == 255).all(axis=2))
        height, width = pixels.shape[:2]
        visible = len(rows) > 0 and len(rows) >= 0.03 * height * width
        box = [0, 0, 0, 0]
        if visible:
            box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        return {
            "detection_boxes": np.array([[box]], np.float32) / [height, width, height, width],
            "detection_scores": np.array([[0.8 if visible else 0.0]], np.float32),
            "detection_classes": np.array([[1.0]], np.float32),
            "num_detections": np.array([1.0], np.float32),
        }

    pixels = np.zeros((400, 300, 3), np.uint8)
    pixels[310:330, 120:140] = 255
    Image.fromarray(pixels).save(folder / "large.png")
    sources = find_media([folder / "large.png"])
    (untiled,) = predict_media(Detector(LABELS, model), sources)
    assert len(untiled.detections) == 0
    (tiled,) = predict_media(Detector(LABELS, model, tiles=Tiles(100)), sources)
    assert tiled.detections.names == ("cat",)
    boxes = tiled.detections.to_pixels_xyxy(300, 400)
    np.testing.assert_allclose(boxes, [[120, 310, 140, 330]], atol=0.01)

    tiled_detector = Detector(LABELS, model, tiles=Tiles(50))
    (empty,) = predict_media(tiled_detector, find_media([folder / "dark.jpg"]))
    assert empty.detections.boxes.shape == (0, 4)
    with outputs.csv_table(tmp_path / "detections.csv") as write:
        write(empty)


def test_unreadable_images_are_reported_and_the_others_processed(detector, folder):
    for name in ("broken.png", "cut.jpg"):
        (folder / name).write_bytes((folder / "dark.jpg").read_bytes()[:300])
    faults = []
    predictions = list(predict_media(detector, find_media([folder]), on_fault=faults.append))
    assert [fault.path.name for fault in faults] == ["broken.png", "cut.jpg"]
    assert [prediction.path.name for prediction in predictions] == [
        *("bright.png", "dark.jpg", "bright.png")
    ]
    with pytest.raises(UserError, match=r"broken\.png: cannot be decoded"):
        list(predict_media(detector, find_media([folder])))


def test_an_interrupted_prediction_leaves_existing_outputs_unchanged(detector, folder, tmp_path):
    with outputs.drawn_images(tmp_path / "out", overwrite=False) as write:
        write_predictions(detector, [folder / "dark.jpg"], write)
    before = contents(tmp_path / "out")
    (tmp_path / "detections.csv").write_text("old")
    with pytest.raises(UserError, match="already exists"):
        outputs.drawn_images(tmp_path / "out", overwrite=False).__enter__()
    with (
        pytest.raises(KeyboardInterrupt),
        outputs.drawn_images(tmp_path / "out", overwrite=True) as draw,
        outputs.csv_table(tmp_path / "detections.csv") as write,
    ):
        for prediction in predict_media(detector, find_media([folder])):
            draw(prediction)
            write(prediction)
            raise KeyboardInterrupt
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "detections.csv"}
    assert contents(tmp_path / "out") == before
    assert (tmp_path / "detections.csv").read_text() == "old"


@pytest.mark.parametrize("write", [outputs.drawn_images, outputs.voc_folder, outputs.crops])
def test_only_an_earlier_output_is_overwritten(write, tmp_path):
    with write(tmp_path / "out", overwrite=False):
        pass
    with write(tmp_path / "out", overwrite=True):
        pass
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "a.xml").touch()
    for marker in (None, "5", '["a.xml"]'):
        if marker:
            (tmp_path / "voc" / outputs.MARKER).write_text(marker)
        with pytest.raises(UserError, match="voc: exists and is not the output of tfod predict"):
            write(tmp_path / "voc", overwrite=True).__enter__()
    assert (tmp_path / "voc" / "a.xml").exists()


def test_corrected_annotations_and_added_files_are_not_overwritten(detector, folder, tmp_path):
    for overwrite in (False, True):
        with outputs.voc_folder(tmp_path / "voc", overwrite) as write:
            write_predictions(detector, [folder], write)
    (tmp_path / "voc" / ".DS_Store").touch()
    (tmp_path / "voc" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"contains notes\.txt, .* Move notes\.txt, or"):
        outputs.voc_folder(tmp_path / "voc", overwrite=True).__enter__()
    (tmp_path / "voc" / "notes.txt").unlink()
    corrected = tmp_path / "voc" / "bright.xml"
    corrected.write_text(corrected.read_text().replace("</object>", "<note/></object>", 1))
    with pytest.raises(UserError, match=r"contains bright\.xml, which was changed"):
        outputs.voc_folder(tmp_path / "voc", overwrite=True).__enter__()
    assert "<note/>" in corrected.read_text()


def test_missing_and_invalid_inputs_are_errors(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        find_media([tmp_path / "nowhere.jpg"])
    with pytest.raises(UserError, match="contains no images"):
        find_media([tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        find_media([tmp_path / "nowhere.mp4"])
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    with pytest.raises(UserError, match="cannot be opened as a video"):
        find_media([tmp_path / "broken.mp4"])


def test_drawing_changes_only_the_outline_and_the_label():
    pixels = np.full((200, 300, 3), 90, np.uint8)
    detections = detections_from_outputs(
        np.array([[0.5, 0.5, 0.9, 0.9]]), np.array([0.8]), np.array([1]), LABELS
    )
    drawn = draw_detections(pixels, detections)
    changed = (drawn != pixels).any(axis=2)
    assert changed[100:180, 150].mean() > 0.9  # the left edge, from top to bottom
    assert not changed[190:].any() and not changed[:, :140].any()
    assert not changed[120:160, 170:250].any()  # inside the box
    assert (pixels == 90).all()


def test_a_contact_sheet_fits_each_image_into_its_tile():
    images = [np.full((h, w, 3), 200, np.uint8) for h, w in ((10, 400), (400, 10), (50, 50))]
    assert contact_sheet(images, columns=2, tile=100).size == (200, 200)


def test_file_name_that_is_not_unicode_is_written_as_escapes(detector, tmp_path):
    pixels = np.full((100, 200, 3), 250, np.uint8)
    detections = detector.predict(pixels)
    with (
        outputs.csv_table(tmp_path / "detections.csv") as to_csv,
        outputs.coco_results(tmp_path / "detections.json") as to_json,
    ):
        for write in (to_csv, to_json):
            write(Prediction(Path("a\udcff.jpg"), None, pixels, detections))
    (row,) = csv.DictReader((tmp_path / "detections.csv").open(encoding="utf-8"))
    assert row["file"] == r"a\udcff.jpg"
    assert json.loads((tmp_path / "detections.json").read_text())[0]["image_id"] == "a\udcff.jpg"
