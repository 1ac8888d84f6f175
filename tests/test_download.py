"""Tests `download` with a server that stalls, disconnects, sends wrong data, or is missing."""

from __future__ import annotations

import hashlib
import socket

import pytest

from helpers.file_server import CONTENT, Server
from helpers.limits import scaled
from tfod import download as module
from tfod.download import download
from tfod.errors import UserError

DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module, "TIMEOUT", scaled(0.5))


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


def test_file_is_downloaded_once(server, tmp_path):
    steps = []
    target = tmp_path / "cache" / "file.bin"
    for _ in range(2):
        assert download(server.url, target, DIGEST, lambda *step: steps.append(step)) == target
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert steps[-1] == ("file.bin", len(CONTENT), len(CONTENT)) and steps == sorted(steps)
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("failure", ["drops", "broken chunks", "stalls"])
def test_download_resumes_after_an_interruption(failure, server, tmp_path):
    server.failures = [failure, failure]
    target = download(server.url, tmp_path / "file.bin", DIGEST)
    assert target.read_bytes() == CONTENT
    assert server.ranges[0] is None and all(server.ranges[1:]) and len(server.ranges) == 3


def test_download_of_an_earlier_process_is_resumed(server, tmp_path):
    (tmp_path / "file.bin.partial").write_bytes(CONTENT[:1000])
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_download_restarts_if_the_server_does_not_support_ranges(server, tmp_path):
    server.accepts_ranges = False
    (tmp_path / "file.bin.partial").write_bytes(b"x" * 1000)
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT


def test_download_restarts_if_the_partial_file_is_too_long(server, tmp_path):
    (tmp_path / "file.bin.partial").write_bytes(CONTENT + b"x")
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("failures", [["500"], ["503", "500"], ["429"], ["no length"]])
def test_temporary_failures_are_retried(failures, server, tmp_path):
    server.failures = list(failures)
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        (["404"], "cannot be downloaded: the server returned 404 Not Found"),
        (["500"] * 9, "cannot be downloaded: the server returned 500 Internal Server Error"),
        (["wrong"] * 9, "is not the expected file: its hash differs"),
    ],
)
def test_permanent_failures_are_reported_and_leave_no_files(failures, message, server, tmp_path):
    server.failures = failures
    with pytest.raises(UserError) as caught:
        download(server.url, tmp_path / "file.bin", DIGEST, alternatives="Use another file")
    assert str(caught.value) == f"{server.url}: {message}. Use another file."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("drops", "the connection was closed before the end of the file"),
        ("broken chunks", "the connection was closed before the end of the file"),
        ("stalls", "the server sent nothing for "),
    ],
)
def test_reason_of_an_incomplete_download_is_reported(
    failure, reason, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.failures = [failure]
    with pytest.raises(UserError, match=f"cannot be downloaded: {reason}"):
        download(server.url, tmp_path / "file.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.partial"]


def test_file_shorter_than_its_content_length_is_refused(server, tmp_path):
    server.failures = ["length too large"] * 99
    with pytest.raises(UserError, match="cannot be downloaded"):
        download(server.url, tmp_path / "file.bin", DIGEST)
    assert not (tmp_path / "file.bin").exists()


def test_missing_server_and_unwritable_folder_are_reported(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
    with pytest.raises(UserError, match="cannot be downloaded: no connection to the server"):
        download(url, tmp_path / "file.bin")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: "):
        download(server.url, tmp_path / "file" / "file.bin")
