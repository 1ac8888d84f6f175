"""Tests tracking and counting: `tfod predict --track`, `--count-line` and `--count-zone`."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from tfod.cli import main
from tfod.detection import outputs
from tfod.detection.counting import count_objects, parse_places
from tfod.detection.detections import detections_from_outputs
from tfod.detection.drawing import draw_counts
from tfod.detection.prediction import Prediction
from tfod.detection.tracking import track_objects
from tfod.errors import UserError
from tfod.sample.scene import make_scene

LABELS = {1: "car", 2: "bus"}
WIDTH, HEIGHT, RATE = 640, 480, 30
THRESHOLD = 0.4
PIXELS = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def frame(number: int, *objects, path: str = "street.mp4") -> Prediction:
    """A frame with objects `(x, y, class id, score)`, each 40 pixels wide and high, around x, y."""
    rows = np.array(objects, float).reshape(-1, 4)
    x, y = rows[:, 0] / WIDTH, rows[:, 1] / HEIGHT
    half_width, half_height = 20 / WIDTH, 20 / HEIGHT
    boxes = np.stack([y - half_height, x - half_width, y + half_height, x + half_width], axis=1)
    detections = detections_from_outputs(boxes, rows[:, 3], rows[:, 2], LABELS)
    return Prediction(Path(path), number, PIXELS, detections, seconds=number / RATE)


def ids_by_row(predictions):
    return [
        {round(box[0] * HEIGHT) + 20: track for box, track in zip(boxes, tracks, strict=True)}
        for boxes, tracks in (
            (prediction.detections.boxes, prediction.detections.track_ids.tolist())
            for prediction in predictions
        )
    ]


def test_objects_keep_their_numbers():
    frames = [
        frame(number, (100 + 6 * number, 100, 1, 0.9), (500 - 6 * number, 300, 2, 0.5))
        for number in range(40)
    ]
    seen = ids_by_row(track_objects(frames, THRESHOLD))
    assert seen[0] == {}  # reported from the second frame on
    assert all(ids == seen[1] for ids in seen[1:])
    assert sorted(seen[1].values()) == [1, 2] and set(seen[1]) == {100, 300}


def test_a_low_score_continues_a_track_but_begins_none():
    frames = [
        frame(number, (100 + 4 * number, 100, 1, 0.9 if number < 5 else 0.25), (400, 300, 1, 0.3))
        for number in range(20)
    ]
    assert ids_by_row(track_objects(frames, THRESHOLD))[1:] == [{100: 1}] * 19


def test_two_classes_for_one_object_are_one_track():
    frames = [
        frame(number, (100 + 4 * number, 100, 1, 0.9), (103 + 4 * number, 101, 2, 0.5))
        for number in range(20)
    ]
    tracked = list(track_objects(frames, THRESHOLD))[1:]
    assert all(item.detections.names == ("car",) for item in tracked)
    assert all(item.detections.track_ids.tolist() == [1] for item in tracked)


def test_an_object_that_is_hidden_for_half_a_second_keeps_its_number():
    def track(hidden):
        moving = [
            frame(
                number, *([] if 10 <= number < 10 + hidden else [(100 + 3 * number, 100, 1, 0.9)])
            )
            for number in range(80)
        ]
        return ids_by_row(track_objects(moving, THRESHOLD))[-1]

    assert track(15) == {100: 1}
    assert track(45) == {100: 2}  # one and a half seconds


def test_missing_frames_are_bridged_by_their_times():
    """A camera drops seven of eight images of an object that moves by its width in the meantime."""
    speeds = [(number, 60 + 5 * number) for number in range(80) if number < 20 or number % 8 == 0]
    frames = [frame(number, (x, 100, 1, 0.9)) for number, x in speeds]
    assert ids_by_row(track_objects(frames, THRESHOLD))[1:] == [{100: 1}] * (len(frames) - 1)


def test_numbers_begin_again_in_each_video():
    frames = [
        frame(number % 5, (100, 100, 1, 0.9), path=f"{number // 5}.mp4") for number in range(10)
    ]
    assert ids_by_row(track_objects(frames, THRESHOLD)) == [{}, *[{100: 1}] * 4] * 2


def test_smooth_boxes_tremble_less():
    rng = np.random.default_rng(0)
    frames = [
        frame(number, (100 + rng.normal(0, 3), 100, 1, 0.9), (300, 300, 2, 0.8))
        for number in range(60)
    ]

    def tremble(smooth):
        tracked = list(track_objects(frames, THRESHOLD, smooth))[10:]
        boxes = np.array(
            [item.detections.boxes[item.detections.names.index("car")] for item in tracked]
        )
        assert all(item.detections.names == ("car", "bus") for item in tracked)
        return np.abs(np.diff(boxes[:, 1])).mean()

    assert tremble(True) < 0.5 * tremble(False)


def test_an_image_cannot_be_tracked():
    image = Prediction(Path("street.jpg"), None, PIXELS, frame(0).detections)
    with pytest.raises(UserError, match=r"street\.jpg: is an image, which cannot be tracked"):
        list(track_objects([image], THRESHOLD))


def counted(frames, lines=(), zones=()):
    places = parse_places(lines, zones)
    return list(count_objects(track_objects(frames, THRESHOLD), places))


def test_a_line_counts_both_directions_by_class():
    """From the right end of a horizontal line, its right side is above."""
    frames = [
        frame(
            number,
            (100, 200 + 3 * number, 1, 0.9),  # down
            (200, 250 + 3 * number, 1, 0.9),  # down
            (300, 320 - 3 * number, 2, 0.9),  # up
            (600, 200 + 3 * number, 1, 0.9),  # passes beside the line
            (400, 200 + number, 2, 0.9),  # does not arrive
        )
        for number in range(35)
    ]
    last = counted(frames, ["500,270,0,270"])[-1]
    (count,) = last.counts
    assert count.totals == {"in": {"car": 2}, "out": {"bus": 1}}
    assert str(count) == "line 1: 2 in (2 car), 1 out (1 bus)"
    reverse = counted(frames, ["0,270,500,270"])[-1].counts[0]
    assert reverse.totals == {"in": {"bus": 1}, "out": {"car": 2}}


def test_a_box_that_trembles_on_a_line_is_counted_once():
    rows = [200, 230, 262, 268, 275, 266, 274, 268, 273, 280, 290, 320, 350]
    frames = [frame(number, (100, row, 1, 0.9)) for number, row in enumerate(rows)]
    assert counted(frames, ["500,270,0,270"])[-1].counts[0].totals["in"] == {"car": 1}


def test_a_zone_counts_who_is_and_who_was_inside():
    frames = [
        frame(number, (20 + 6 * number, 100, 1, 0.9), (320, 120, 2, 0.9), (320, 400, 2, 0.9))
        for number in range(100)
    ]
    predictions = counted(frames, [], ["200,50,400,50,400,200,200,200"])
    totals = [item.counts[0].totals for item in predictions]
    assert totals[10] == {"inside now": {"bus": 1}, "ever inside": {"bus": 1}}
    assert totals[45] == {"inside now": {"bus": 1, "car": 1}, "ever inside": {"bus": 1, "car": 1}}
    assert totals[-1] == {"inside now": {"bus": 1}, "ever inside": {"bus": 1, "car": 1}}


def test_the_table_has_tracks_and_events(tmp_path):
    frames = [frame(number, (100, 200 + 5 * number, 1, 0.9)) for number in range(30)]
    places = parse_places(["500,270,0,270"], ["0,297,640,297,640,480,0,480"])
    with outputs.csv_table(tmp_path / "out.csv", True, places) as write:
        for prediction in count_objects(track_objects(frames, THRESHOLD), places):
            write(prediction)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 29 and {row["track_id"] for row in rows} == {"1"}
    assert [row["line 1"] for row in rows].count("in") == 1
    assert [row["zone 1"] for row in rows] == [
        "inside" if float(row["ymin"]) + 20 > 297 else "" for row in rows
    ]


def test_counts_are_drawn():
    (*_, last) = counted(
        [frame(number, (100, 100, 1, 0.9)) for number in range(3)], ["50,400,600,400"]
    )
    drawn = draw_counts(PIXELS, last.counts)
    changed = (drawn != PIXELS).any(axis=2)
    assert changed[398:403, 60:590].mean() > 0.3  # the line
    assert changed[:60, :200].any()  # the table
    assert draw_counts(PIXELS, ()) is PIXELS


@pytest.mark.parametrize(
    ("lines", "zones", "message"),
    [
        (["1,2,3"], [], r"--count-line: '1,2,3' is not a line\. Give the two ends"),
        (["1,2,1,2"], [], "--count-line: '1,2,1,2' is not a line"),
        (["a,2,3,4"], [], "--count-line: 'a,2,3,4' is not a line"),
        (["-1,2,3,4"], [], "--count-line: '-1,2,3,4' is not a line"),
        ([f"0,0,{10**30},5"], [], "is not a line"),
        ([], ["1,2,3,4"], r"--count-zone: '1,2,3,4' is not a zone\. Give three corners"),
        ([], ["1,2,3,4,1,2"], "is not a zone"),
    ],
)
def test_other_coordinates_are_an_error(lines, zones, message):
    with pytest.raises(UserError, match=message):
        parse_places(lines, zones)


def test_a_place_outside_of_the_video_is_an_error():
    with pytest.raises(UserError, match=r"line 1: has the point 900,10 outside of street\.mp4"):
        counted([frame(0)], ["10,10,900,10"])


def test_predict_counts_signs_in_a_video(tmp_path):
    """The detector of road signs, and a drawn stop sign that moves down through a street."""
    street, _ = make_scene(seed=77, index=2)
    signs = (make_scene(seed=77, index=index) for index in range(1, 100))
    sign = next(
        image.crop(box.corners)
        for image, boxes in signs
        for box in boxes
        if box.name == "stop" and box.corners[2] - box.corners[0] > 60 and not box.truncated
    )
    video = tmp_path / "street.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.bit_rate = 480, 480, 8_000_000
        for number in range(24):
            image = street.resize((480, 480))
            image.paste(sign, (200, 20 + 14 * number))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    outputs = ["--output", tmp_path / "out", "--csv", tmp_path / "out.csv"]
    options = [video, "--count-line", "480,240,0,240", *outputs]
    result = CliRunner().invoke(main, ["predict", *map(str, options)])
    assert result.exit_code == 0, result.output
    assert f"{video}: line 1: 1 in (1 stop), 0 out" in result.output
    assert re.search(r"#\d stop \d\d%", result.output)
    with (tmp_path / "out.csv").open(newline="") as file:
        events = [row["line 1"] for row in csv.DictReader(file) if row["class"] == "stop"]
    assert events.count("in") == 1 and len(events) > 15
    with av.open(str(tmp_path / "out" / "street.mp4")) as drawn:
        assert sum(1 for _ in drawn.decode(video=0)) == 24
