"""Tests `tfod.videos`: which frames are read from which files, and the errors."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from helpers.video_files import HEIGHT, WIDTH, gray, noise, rotate_in_header, write_video
from tfod.errors import FileFault
from tfod.videos import check_video, read_frames

LEVELS = (20, 60, 100, 140, 180, 220)


def truncate(path: Path, fraction: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "mpeg4"), ("a.MOV", "mpeg4"), ("a.m4v", "mpeg4"), ("a.3gp", "mpeg4")),
        *(("a.avi", "mjpeg"), ("a.mkv", "mjpeg"), ("a.wmv", "wmv2")),
    ],
)
def test_all_frames_are_read_in_order(name, codec, tmp_path):
    video = write_video(tmp_path / name, map(gray, LEVELS), codec=codec)
    assert check_video(video).frames == len(LEVELS)
    frames = list(read_frames(video))
    assert [frame.number for frame in frames] == list(range(len(LEVELS)))
    for frame, level in zip(frames, LEVELS, strict=True):
        assert frame.rgb().shape == (HEIGHT, WIDTH, 3)
        assert abs(frame.rgb().astype(int) - level).max() <= 6
        assert abs(frame.thumbnail - level).max() <= 6


def test_time_of_each_frame_is_that_of_the_file(tmp_path):
    times = [0, 100, 133, 1000, 1010, 2500]
    video = write_video(tmp_path / "a.mp4", map(gray, LEVELS), times)
    seconds = [frame.seconds for frame in read_frames(video)]
    assert seconds == pytest.approx([time / 1000 for time in times], abs=0.001)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_video_of_a_phone_is_rotated_upright(degrees, tmp_path):
    pixels = gray(40)
    pixels[: HEIGHT // 2, : WIDTH // 2] = (250, 20, 20)
    video = write_video(tmp_path / "a.mp4", [pixels, pixels])
    rotate_in_header(video, degrees)
    expected = np.rot90(pixels, -degrees // 90)
    for frame in read_frames(video):
        assert frame.rgb().shape == expected.shape
        assert abs(frame.rgb().astype(int) - expected).mean() < 5


@pytest.mark.parametrize("name", ["a:b?.mp4", "http:a.mp4", "%03d.mp4", "-a.mp4", "é 停.mp4"])
def test_file_name_is_only_a_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", map(gray, LEVELS)).rename(name)
    assert check_video(Path(name)).frames == len(LEVELS)


def test_file_name_may_not_be_unicode(tmp_path):
    video = tmp_path / os.fsdecode(b"\xff.mp4")
    write_video(tmp_path / "a.mp4", map(gray, LEVELS)).rename(video)
    assert check_video(video).frames == len(LEVELS)


def test_title_may_not_be_unicode(tmp_path):
    video = write_video(tmp_path / "a.avi", map(gray, LEVELS))
    data = video.read_bytes()
    assert data.count(b"Lavf") == 1  # the program that wrote the file
    video.write_bytes(data.replace(b"Lavf", b"\xff\xfevf"))
    assert check_video(video).frames == len(LEVELS)


def erase_jpegs(path: Path, numbers: Iterable[int]) -> None:
    """Overwrites frames of an AVI file of JPEGs with zeros."""
    data = path.read_bytes()
    jpegs = list(re.finditer(rb"\xff\xd8.*?\xff\xd9", data, re.DOTALL))
    for number in numbers:
        start, end = jpegs[number].span()
        data = data[:start] + bytes(end - start) + data[end:]
    path.write_bytes(data)


def write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 44100
        container.mux([*stream.encode(frame), *stream.encode()])


def write_with_unknown_codec(path: Path) -> None:
    data = write_video(path, map(gray, LEVELS), codec="mjpeg").read_bytes()
    assert b"MJPG" in data
    path.write_bytes(data.replace(b"MJPG", b"zzzz"))


def write_without_frames(path: Path) -> None:
    write_video(path, map(noise, range(6)), codec="mjpeg")
    erase_jpegs(path, range(6))


def write_truncated(path: Path) -> None:
    write_video(path, map(noise, range(6)))
    truncate(path, 0.9)


@pytest.mark.parametrize(
    ("name", "write", "what"),
    [
        ("a.mp4", lambda path: path.write_text("not a video"), "cannot be opened as a video"),
        ("a.txt", lambda path: path.write_text("text\n" * 999), "cannot be opened as a video"),
        ("a.mp4", lambda path: path.write_bytes(b""), "is empty"),
        ("a.jpg", lambda path: Image.new("RGB", (9, 9)).save(path), "cannot be opened as a video"),
        ("a.mp4", write_truncated, "is incomplete or damaged"),
        ("a.mp4", write_audio, "contains no video"),
        ("a.avi", write_with_unknown_codec, "has a codec that is not supported"),
        ("a.avi", write_without_frames, "contains no frame that can be decoded"),
        ("a.avi", lambda path: write_video(path, []), "contains no frame that can be decoded"),
        ("a.mp4", lambda path: path.mkdir(), "is a folder"),
        ("a.mp4", lambda path: None, "does not exist"),
    ],
)
def test_unreadable_file_is_one_error(name, write, what, tmp_path, capfd):
    path = tmp_path / name
    write(path)
    for read in (check_video, lambda path: list(read_frames(path))):
        with pytest.raises(FileFault) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: {what}. ")
    assert capfd.readouterr().err == ""  # FFmpeg is quiet


def test_playlist_does_not_open_other_files(tmp_path):
    write_video(tmp_path / "secret.mp4", map(gray, LEVELS))
    playlists = {
        "a.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
        "b.mp4": "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(FileFault, match="cannot be opened as a video"):
            check_video(tmp_path / name)


def test_frame_with_too_many_pixels_is_refused(tmp_path):
    video = write_video(tmp_path / "a.avi", map(gray, LEVELS), codec="rawvideo")
    size = WIDTH.to_bytes(4, "little") + HEIGHT.to_bytes(4, "little")
    data = video.read_bytes()
    assert size in data
    video.write_bytes(data.replace(size, (16_000).to_bytes(4, "little") * 2))
    with pytest.raises(FileFault, match="has 16000 x 16000 pixels, too many"):
        check_video(video)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.avi", {}), ("a.mkv", {}), ("a.mp4", {"movflags": "faststart"})],
)
def test_frames_before_the_end_of_a_truncated_video_are_read(name, options, tmp_path):
    video = write_video(tmp_path / name, map(noise, range(20)), **options)
    truncate(video, 0.6)
    faults: list[FileFault] = []
    count = sum(1 for _ in read_frames(video, faults.append))
    assert 8 <= count <= 13
    (fault,) = faults
    assert str(fault) == (
        f"{video}: ends after {count / 10:.1f} of 2.0 seconds. "
        "Copy it again; the frames up to there were used."
    )
    with pytest.raises(FileFault, match="ends after"):
        list(read_frames(video))


def test_damaged_frames_are_left_out(tmp_path):
    video = write_video(tmp_path / "a.avi", map(noise, range(20)), codec="mjpeg")
    erase_jpegs(video, [4])
    faults: list[FileFault] = []
    frames = list(read_frames(video, faults.append))
    assert len(frames) == 19
    assert [fault.what for fault in faults] == ["is damaged: 1 frame cannot be decoded"]


def test_frames_that_are_decoded_in_part_are_left_out(tmp_path):
    video = write_video(tmp_path / "a.mp4", map(noise, range(40)), codec="libx264")
    data = bytearray(video.read_bytes())
    start = len(data) // 3
    data[start : start + 60] = bytes(byte ^ 0x5A for byte in data[start : start + 60])
    video.write_bytes(data)
    faults: list[FileFault] = []
    assert len(list(read_frames(video, faults.append))) in range(20, 40)
    assert [fault.what[:12] for fault in faults] == ["is damaged: "]


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_random_damage_is_read_or_reported(name, tmp_path):
    data = write_video(tmp_path / name, map(noise, range(4))).read_bytes()
    random_bytes = random.Random(0)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(random_bytes.choice((1, 5, 50))):
            damaged[random_bytes.randrange(len(data))] = random_bytes.randrange(256)
        video = tmp_path / f"damaged_{name}"
        video.write_bytes(damaged)
        try:
            check_video(video)
            assert len(list(read_frames(video, lambda fault: None))) <= 10
        except FileFault as fault:
            assert fault.path == video


def test_video_with_a_long_last_frame_is_complete(tmp_path):
    """As in a recording of a screen on which nothing moves any more."""
    short = write_video(tmp_path / "short.mp4", map(gray, LEVELS))
    long = tmp_path / "long.mp4"
    with av.open(str(short)) as source, av.open(str(long), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        packets[-1].duration *= 30
        for packet in packets:
            packet.stream = stream
        target.mux(packets)
    with av.open(str(long)) as container:
        assert container.duration > 3_000_000  # microseconds
    assert len(list(read_frames(long))) == len(LEVELS)
