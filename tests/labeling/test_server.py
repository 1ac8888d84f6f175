"""Tests `labeling.server`: what it answers, and whom it refuses."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.http_client import request
from helpers.voc_files import write_image
from tfod.annotation.voc import read_xml
from tfod.detection.detector import Detector

NEW = {"position": None, "name": "cat", "box": [10.4, 20, 30, 40], "difficult": False}


def ask(url: str, method: str = "GET", body=None) -> dict:
    status, answer, _ = request(url, method, body)
    assert status == 200, answer
    return json.loads(answer)


def test_images_and_objects_are_listed(serve, photos):
    with serve(photos) as url:
        overview = ask(f"{url}/api/images")
        assert overview["images"][0] == {
            "name": "a.jpg",
            "labeled": True,
            "classes": ["stop", "dog"],
        }
        assert (overview["model"], overview["classes"]) == (False, [])
        content = ask(f"{url}/api/objects/0")
        assert content["objects"][0] == {
            "position": 0,
            "name": "stop",
            "box": [10, 20, 110, 120],
            "difficult": False,
        }
        status, page, headers = request(url)
        assert status == 200 and b"<title>Label images</title>" in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_change_is_saved_undone_and_redone(serve, photos):
    with serve(photos) as url:
        version = ask(f"{url}/api/objects/0")["version"]
        body = {"version": version, "objects": [NEW]}
        content = ask(f"{url}/api/objects/0", "PUT", body)
        assert [(item["name"], item["box"]) for item in content["objects"]] == [
            ("cat", [10, 20, 30, 40])
        ]
        status, message, _ = request(f"{url}/api/objects/0", "PUT", body)
        assert (status, b"was changed by another program" in message) == (409, True)
        undone = ask(f"{url}/api/undo/0", "POST")
        assert (undone["version"], undone["undo"], undone["redo"]) == (version, 0, 1)
        assert ask(f"{url}/api/redo/0", "POST") == content
        status, message, _ = request(f"{url}/api/redo/0", "POST")
        assert (status, b"has no change to make again" in message) == (409, True)


def test_pixels_are_those_that_a_browser_can_show(serve, tmp_path):
    write_image(tmp_path / "a.tif", size=(60, 40))
    write_image(tmp_path / "b.png", size=(60, 40))
    with serve(tmp_path) as url:
        for number, kind in enumerate(("image/jpeg", "image/png")):
            status, data, headers = request(f"{url}/api/images/{number}")
            assert (status, headers["Content-Type"]) == (200, kind)
            assert Image.open(io.BytesIO(data)).size == (60, 40)
        _, thumbnail, _ = request(f"{url}/api/thumbnails/0")
        assert Image.open(io.BytesIO(thumbnail)).format == "JPEG"


def test_suggestions_are_in_pixels(serve, photos):
    outputs = {
        "detection_boxes": np.array([[[0.1, 0.2, 0.5, 0.4], [0, 0, 1, 1]]], np.float32),
        "detection_scores": np.array([[0.9, 0.01]], np.float32),
        "detection_classes": np.array([[1, 1]], np.float32),
        "num_detections": np.array([2], np.float32),
    }
    with serve(photos, Detector({1: "dog"}, lambda pixels: outputs, threshold=0.4)) as url:
        overview = ask(f"{url}/api/images")
        assert (overview["model"], overview["threshold"]) == (True, 0.4)
        assert ask(f"{url}/api/suggestions/1") == [
            {"name": "dog", "score": 0.9, "box": [80, 30, 160, 150]}
        ]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a\x00"},
        {"name": "x" * 201},
        {"name": 7},
        {"box": [1, 2, 3]},
        {"box": [30, 20, 10, 40]},
        {"box": [10, 20, 10.2, 40]},
        {"box": [1, 2, float("nan"), 4]},
        {"box": [1e308, 2, 1e309, 4]},
        {"box": [500, 20, 600, 40]},
        {"box": "1234"},
        {"position": 17},
        {"position": True},
        {"position": "0"},
        {"difficult": "no"},
    ],
    ids=str,
)
def test_requests_with_bad_objects_change_nothing(serve, photos, change):
    before = (photos / "a.xml").read_bytes()
    with serve(photos) as url:
        version = ask(f"{url}/api/objects/0")["version"]
        body = {"version": version, "objects": [{**NEW, **change}]}
        status, message, _ = request(f"{url}/api/objects/0", "PUT", body)
    assert (status, message) == (400, b"the request has no valid objects")
    assert (photos / "a.xml").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/../../etc/passwd", "GET", None, 404),
        ("/api/images/..%2F..%2Fa", "GET", None, 404),
        ("/api/images/3", "GET", None, 404),
        ("/api/images/-1", "GET", None, 404),
        ("/api/nothing/0", "GET", None, 404),
        ("/api/images/0", "PUT", {}, 404),
        ("/api/objects/0", "PUT", b"{", 400),
        ("/api/objects/0", "PUT", b"[" * 100_000, 400),
        ("/api/objects/0", "PUT", [], 400),
        ("/api/objects/0", "PUT", {"version": 1, "objects": []}, 400),
        ("/api/objects/0", "DELETE", None, 501),
    ],
)
def test_bad_requests_are_refused(serve, photos, path, method, body, status):
    with serve(photos) as url:
        assert request(f"{url}{path}", method, body)[0] == status
        assert request(url)[0] == 200


def test_a_huge_body_is_refused_before_it_is_read(serve, photos):
    with serve(photos) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"PUT /api/objects/0 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {100 << 20}"
            connection.sendall(f"{head}\r\n\r\n".encode())
            assert b" 413 " in connection.recv(1000)


def test_the_body_of_a_refused_request_is_no_request(serve, photos):
    with serve(photos) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            hidden = f"POST /api/undo/0 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
            head = f"PUT /api/nothing/0 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(hidden)}"
            connection.sendall(f"{head}\r\n\r\n{hidden}".encode())
            answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.count(b"HTTP/1.1 ") == 1 and b" 404 " in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8001"},
        {"Host": "::1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_others_are_refused(serve, photos, headers):
    with serve(photos) as url:
        assert request(f"{url}/api/images", **headers)[0] == 403


def test_other_machines_need_the_token(serve, photos):
    with serve(photos, token="secret") as url:
        assert request(url)[0] == 403
        assert request(f"{url}/?token=wrong")[0] == 403
        assert request(f"{url}/api/images", Cookie="token=wrong")[0] == 403
        status, _, headers = request(f"{url}/?token=secret", Host="192.168.0.7:8001")
        assert status == 200
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert request(f"{url}/api/images", Cookie=cookie.partition(";")[0])[0] == 200


def test_kill_loses_no_acknowledged_change(photos, annotorious, tmp_path):
    """kill -9 in the middle of 100 changes."""
    command = [sys.executable, "-m", "tfod", "label", photos, "--port", "0"]
    tools = str(Path(__file__).parents[2] / "tools")
    environment = {**os.environ, "PYTHONPATH": tools}
    acknowledged = -1
    for killed_after in (17, 100):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        url = process.stdout.readline().split()[1].rstrip("/")
        version = ask(f"{url}/api/objects/1")["version"]
        for number in range(acknowledged + 1, killed_after):
            objects = [{**NEW, "name": f"change {number}"}]
            version = ask(f"{url}/api/objects/1", "PUT", {"version": version, "objects": objects})[
                "version"
            ]
            acknowledged = number
        process.send_signal(signal.SIGKILL)
        process.wait()
        (item,) = read_xml(photos / "b.xml").objects
        assert item.box.name == f"change {acknowledged}"
    assert acknowledged == 99
