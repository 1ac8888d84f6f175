"""Tests `tfod.cameras` and `tfod predict 0`, with a camera that FFmpeg draws."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import av
import pytest

from helpers.limits import scaled
from tfod import cameras
from tfod.errors import UserError

RATE = 20
# The brightness says how old an image is: it grows by 4 with each of 20 images a second.
CAMERA = f"nullsrc=size=64x48:rate={RATE},geq=lum=N*4:cb=128:cr=128,realtime"


def use(monkeypatch, source: str) -> None:
    monkeypatch.setitem(cameras.DEVICES, sys.platform, ("lavfi", source))


def test_a_slow_reader_gets_the_newest_image(monkeypatch):
    use(monkeypatch, CAMERA)
    frames = cameras.read_camera(0)
    seen = []
    for frame in frames:
        seen.append((frame.number, frame.seconds, frame.rgb().mean() / 4 / RATE))
        if len(seen) == 4:
            break
        time.sleep(0.4)
    frames.close()
    numbers = [number for number, _, _ in seen]
    assert numbers[0] == 0
    assert all(later - earlier >= 8 for earlier, later in pairwise(numbers))
    # Limited range makes brightness 1.16 times as high; an image is at most one period late.
    for _, seconds, sent in seen[1:]:
        assert 0.7 * seconds - 0.3 < sent < 1.3 * seconds + 0.3


def test_a_camera_that_stops_is_reported(monkeypatch):
    use(monkeypatch, f"testsrc=size=64x48:rate={RATE}:duration=0.3")
    frames = cameras.read_camera(3)
    assert next(frames).rgb().shape == (48, 64, 3)
    with pytest.raises(UserError, match="camera 3: sends no more images"):
        list(frames)
    faults: list[UserError] = []
    assert list(cameras.read_camera(3, faults.append))
    assert [fault.what for fault in faults] == ["sends no more images"]


def test_a_camera_that_is_missing_is_reported():
    with pytest.raises(UserError, match=r"camera 987: cannot be opened\. Connect it"):
        next(cameras.read_camera(987))


def test_ctrl_c_ends_predict_and_completes_its_outputs(tmp_path):
    program = (
        "import sys; from tfod import cameras; from tfod.__main__ import run; "
        f"cameras.DEVICES[sys.platform] = ('lavfi', {CAMERA!r}); run()"
    )
    tools = str(Path(__file__).parents[1] / "tools")
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", program, "predict", "0", "--output", tmp_path / "out"),
            *("--csv", tmp_path / "out.csv"),
        ],
        env={"PYTHONPATH": tools, "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [process.stdout.readline() for _ in range(5)]
    assert lines[0] == "camera_0 frame 0: nothing detected\n"
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, errors
    assert f"written: {tmp_path / 'out'}" in rest and "Traceback" not in errors
    assert (tmp_path / "out.csv").read_text().startswith("file,frame")
    count = len(lines) + rest.count("camera_0 frame")
    last = max(
        int(line.split()[2].rstrip(":")) for line in [*lines, *rest.splitlines()] if "frame" in line
    )
    with av.open(str(tmp_path / "out" / "camera_0.mp4")) as video:
        # In the time of the recording, with repeated images.
        assert video.streams.video[0].average_rate == cameras.FRAMES_PER_SECOND
        assert sum(1 for _ in video.decode(video=0)) >= last + 1 >= count
