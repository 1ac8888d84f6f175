"""Tests `tfod.cameras` and `tfod predict 0`, with cameras that FFmpeg draws or the tests serve."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image

from helpers.limits import scaled
from helpers.rtsp_server import rtsp_camera, transport_stream
from tfod import cameras
from tfod.detection.media import find_media
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


def test_a_network_camera_is_connected_again():
    notes: list[str] = []
    with rtsp_camera(seconds=4) as (url, requests):
        frames = cameras.read_camera(url, on_note=notes.append)
        numbers, brightness = [], []
        for frame in frames:
            numbers.append(frame.number)
            brightness.append(frame.rgb().mean())
            if len(notes) == 2 or frame.seconds > scaled(60):
                break
        frames.close()
    assert [request.split()[0] for request in requests].count("PLAY") >= 2
    assert numbers == sorted(numbers) and numbers[-1] > 2 * cameras.FRAMES_PER_SECOND
    again = max(range(1, len(numbers)), key=lambda index: numbers[index] - numbers[index - 1])
    assert brightness[again] < 90 < brightness[again - 1]  # the second video begins dark, too
    address = url.replace("user:secret@", "")
    assert notes[0] == f"{address}: the connection is lost; connecting again"


@contextmanager
def http_camera(content_type: str, content: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video"
    finally:
        server.shutdown()
        server.server_close()


def test_motion_jpeg_over_http_is_read():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 200, 200)).save(buffer, "JPEG")
    part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + buffer.getvalue() + b"\r\n"
    with http_camera("multipart/x-mixed-replace; boundary=frame", part * 10) as url:
        frames = cameras.read_camera(url)
        assert next(frames).rgb().mean() == pytest.approx(200, abs=2)
        frames.close()


def test_a_stream_cannot_name_other_addresses():
    """A playlist would make FFmpeg open whatever it lists."""
    with http_camera("video/mp2t", transport_stream(50)) as other:
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}.ts\n#EXT-X-ENDLIST\n"
        with (
            http_camera("application/vnd.apple.mpegurl", playlist.encode()) as url,
            pytest.raises(UserError, match=r"http://127\.0\.0\.1:\d+/video: cannot be opened"),
        ):
            next(cameras.read_camera(url))


def test_a_network_camera_that_is_missing_is_reported_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"rtsp://user:secret@127.0.0.1:{port}/live?password=secret"
    with pytest.raises(UserError) as error:
        next(cameras.read_camera(url))
    assert str(error.value).startswith(f"rtsp://127.0.0.1:{port}/live: cannot be opened. Check its")
    assert "secret" not in str(error.value)
    (media,) = find_media([url])
    assert media.path == Path(f"rtsp_127.0.0.1_{port}_live") and media.camera == url
