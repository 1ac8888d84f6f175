"""Fetching from a server that stalls, breaks off, lies, or is not there."""

from __future__ import annotations

import hashlib
import socket

import pytest

from helpers.file_server import CONTENT, Server
from tfod import download as module
from tfod.download import download
from tfod.errors import UserError

DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.5)


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


def test_it_comes_whole_and_once(server, tmp_path):
    seen = []
    target = tmp_path / "cache" / "file.bin"
    for _ in range(2):
        assert download(server.url, target, DIGEST, lambda *step: seen.append(step)) == target
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert seen[-1] == ("file.bin", len(CONTENT), len(CONTENT)) and seen == sorted(seen)
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("ill", ["drops", "stalls"])
def test_what_came_before_a_break_is_gone_on_from(ill, server, tmp_path):
    server.ills = [ill, ill]
    target = download(server.url, tmp_path / "file.bin", DIGEST)
    assert target.read_bytes() == CONTENT
    assert server.ranges[0] is None and all(server.ranges[1:]) and len(server.ranges) == 3


def test_an_earlier_process_is_gone_on_from(server, tmp_path):
    (tmp_path / "file.bin.partial").write_bytes(CONTENT[:1000])
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_server_that_cannot_go_on_starts_anew(server, tmp_path):
    server.ranges_known = False
    (tmp_path / "file.bin.partial").write_bytes(b"x" * 1000)
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT


def test_more_than_there_is_starts_anew(server, tmp_path):
    (tmp_path / "file.bin.partial").write_bytes(CONTENT + b"x")
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("ills", [["500"], ["503", "500"], ["429"], ["says no length"]])
def test_passing_ills_are_got_over(ills, server, tmp_path):
    server.ills = list(ills)
    assert download(server.url, tmp_path / "file.bin", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("ills", "said"),
    [
        (["404"], "cannot be fetched: the server answers 404 Not Found"),
        (["500"] * 9, "cannot be fetched: the server answers 500 Internal Server Error"),
        (["wrong"] * 9, "is not the file that was expected: its hash differs"),
    ],
)
def test_lasting_ills_are_one_line_and_leave_nothing(ills, said, server, tmp_path):
    server.ills = ills
    with pytest.raises(UserError) as caught:
        download(server.url, tmp_path / "file.bin", DIGEST, alternatives="Do without")
    assert str(caught.value) == f"{server.url}: {said}. Do without."
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_a_lie_is_no_file(server, tmp_path):
    server.ills = ["says it is longer"] * 99
    with pytest.raises(UserError, match="cannot be fetched"):
        download(server.url, tmp_path / "file.bin", DIGEST)
    assert not (tmp_path / "file.bin").exists()


def test_no_server_and_no_place_are_one_line(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
    with pytest.raises(UserError, match="cannot be fetched: no connection to the server"):
        download(url, tmp_path / "file.bin")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot be written: "):
        download(server.url, tmp_path / "taken" / "file.bin")
