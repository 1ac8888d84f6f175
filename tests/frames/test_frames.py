"""Tests `tfod frames`: which frames are written, under which names, and what is never changed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.files import contents
from helpers.video_files import gray, noise, rotate_in_header, write_video
from tfod.cli import main
from tfod.errors import UserError
from tfod.files import LOCK
from tfod.frames import write_frames

SPLIT_ADVICE = (
    r"Convert them with --group-by '^(.*)_\d+', to keep the frames of a video in one split. "
    "Otherwise the AP will be too high."
)


def tfod_frames(*arguments):
    return CliRunner().invoke(main, ["frames", *map(str, arguments)])


def numbers(folder: Path, name: str = "clip") -> list[int]:
    """Returns the numbers of the frames of a video, in order."""
    return [int(file.stem.removeprefix(f"{name}_")) for file in sorted(folder.glob(f"{name}_*"))]


def blocks(seed: int) -> np.ndarray:
    """A frame that is not similar to any other, and not another scene either."""
    return (noise(seed) // 8 + 110).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Three seconds of 10 frames each, all different."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", map(blocks, range(30)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [0, 10, 20]),
        (["--every", "1s"], [0, 10, 20]),
        (["--every", "0.5s"], [0, 5, 10, 15, 20, 25]),
        (["--every", ".5 s"], [0, 5, 10, 15, 20, 25]),
        (["--every", "0.25s"], [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]),
        (["--every", "0.1s"], list(range(30))),
        (["--every", "0.01s"], list(range(30))),
        (["--every", "2.5s"], [0, 25]),
        (["--every", "60s"], [0]),
        (["--every", "1"], list(range(30))),
        (["--every", "7"], [0, 7, 14, 21, 28]),
        (["--every", "1000"], [0]),
        (["--scenes"], [0]),
    ],
)
def test_frames_are_written_at_the_interval(options, expected, clip, tmp_path):
    result = tfod_frames(clip, "--output", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert numbers(tmp_path / "out") == expected
    plural = "" if len(expected) == 1 else "s"
    written = f"written: {len(expected)} frame{plural} of 1 video in {tmp_path / 'out'}"
    assert result.stdout.splitlines() == [written, SPLIT_ADVICE]


def test_interval_in_seconds_follows_the_time_of_the_frames(tmp_path):
    times = [0, 100, 900, 1020, 1100, 1990, 2000, 4500, 4600, 5000]
    video = write_video(tmp_path / "clip.mp4", map(blocks, range(len(times))), times)
    write_frames([video], tmp_path / "out", "1s")
    assert [times[number] for number in numbers(tmp_path / "out")] == [0, 1020, 2000, 4500, 5000]


def test_first_frame_of_each_scene_is_written(tmp_path):
    scenes = [noise(scene) for scene in (0, 0, 0, 1, 1, 2, 2, 2, 2, 0, 0)]
    video = write_video(tmp_path / "clip.mp4", scenes)
    result = tfod_frames(video, "--output", tmp_path / "out", "--scenes")
    assert numbers(tmp_path / "out") == [0, 3, 5, 9], result.output


def test_slow_change_is_not_a_scene(tmp_path):
    video = write_video(tmp_path / "clip.mp4", [gray(20 + 10 * number) for number in range(20)])
    write_frames([video], tmp_path / "out", scenes=True)
    assert numbers(tmp_path / "out") == [0]


def standing(change: int = 0, noise_level: int = 3) -> list[np.ndarray]:
    """Thirty frames of a standing camera: noise, and in frame 15 an object of 3 x 3 pixels."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(30):
        frame = blocks(0) + rng.integers(0, noise_level, (48, 64, 1))
        frame[20:23, 20:23] += change if number == 15 else 0
        frames.append(frame.astype(np.uint8))
    return frames


@pytest.mark.parametrize(
    ("change", "options", "expected", "left_out"),
    [
        (0, [], [0], "14 frames left out"),
        (0, ["--keep-similar"], list(range(0, 30, 2)), None),
        (60, ["--every", "3"], [0, 15, 18], "7 frames left out"),
    ],
)
def test_frames_of_a_standing_camera_are_left_out(change, options, expected, left_out, tmp_path):
    video = write_video(tmp_path / "clip.mp4", standing(change))
    result = tfod_frames(video, "--output", tmp_path / "out", "--every", "2", *options)
    assert numbers(tmp_path / "out") == expected
    notes = re.findall(r"note: (.*?):", result.stderr)
    assert notes == ([left_out] if left_out else [])


def test_each_video_is_compared_with_itself_only(tmp_path):
    videos = [write_video(tmp_path / f"{name}.mp4", [noise(0)] * 3) for name in ("a", "b")]
    counts = write_frames(videos, tmp_path / "out", "1")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("a_000000.jpg", "b_000000.jpg")
    ]
    assert (counts.videos, counts.written, counts.similar) == (2, 2, 4)


def test_images_show_the_frames_upright(tmp_path):
    pixels = gray(40)
    pixels[:24, :32] = (250, 20, 20)
    video = write_video(tmp_path / "clip.mp4", [pixels, pixels])
    rotate_in_header(video, 90)
    write_frames([video], tmp_path / "out")
    with Image.open(tmp_path / "out" / "clip_000000.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (48, 64))
        assert abs(np.asarray(image, int) - np.rot90(pixels, -1)).mean() < 5


def test_videos_of_the_same_name_do_not_replace_each_other(tmp_path):
    for path in ("day1/clip.mp4", "day2/clip.mp4", "day2/Clip.avi", "clip_2.mp4"):
        write_video(tmp_path / "in" / path, map(blocks, range(2)))
    write_frames([tmp_path / "in", tmp_path / "in" / "clip_2.mp4"], tmp_path / "out", "1")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    # In the order of the paths: clip_2, day1/clip, day2/Clip, day2/clip.
    names = ("Clip_3", "clip", "clip_2", "clip_4")
    assert files == sorted(f"{name}_00000{number}.jpg" for name in names for number in (0, 1))


def test_a_folder_gives_its_videos_and_those_of_its_subfolders(clip, tmp_path):
    for path in ("a.MP4", "more/b.mov", ".hidden.mp4"):
        (tmp_path / "in" / path).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(clip, tmp_path / "in" / path)
    (tmp_path / "in" / "notes.txt").write_text("not a video")
    (tmp_path / "in" / "link.mp4").symlink_to(tmp_path / "in" / "a.MP4")  # the same video
    counts = write_frames([tmp_path / "in"], tmp_path / "out")
    assert (counts.videos, counts.written) == (2, 6)


def test_frames_are_added_to_images_and_annotations(clip, tmp_path):
    output = tmp_path / "images"
    output.mkdir()
    (output / "photo.jpg").write_text("precious")
    (output / "other_000000.jpg").write_text("a frame")
    (output / "other_000000.xml").write_text("annotated")
    before = contents(output)
    result = tfod_frames(clip, "--output", output)
    assert result.exit_code == 0, result.output
    after = contents(output)
    assert before.items() < after.items()
    assert set(after) - set(before) == {f"clip_0000{number}0.jpg" for number in range(3)}


def test_frames_of_the_same_video_are_not_replaced(clip, tmp_path):
    output = tmp_path / "images"
    write_frames([clip], output, "2s")
    before = contents(output)
    result = tfod_frames(clip, "--output", output)
    assert (result.exit_code, result.stderr) == (
        2,
        f"tfod: {output}: already contains frames of a video 'clip', such as clip_000000.jpg. "
        "Choose another --output, rename the video, or delete these frames.\n",
    )
    assert contents(output) == before


def test_current_folder_can_be_the_output(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tfod_frames(clip, "--output", ".").exit_code == 0
    assert numbers(tmp_path) == [0, 10, 20]


@pytest.fixture
def bad(clip, tmp_path) -> Path:
    """A folder of things that are not videos, and one truncated video."""
    folder = tmp_path / "bad"
    (folder / "empty").mkdir(parents=True)
    (folder / "text.mp4").write_text("not a video")
    (folder / "zero.mp4").touch()
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:3000])
    (folder / "a file").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{bad}/text.mp4"], "{bad}/text.mp4: cannot be opened as a video"),
        (["{bad}/cut.mp4"], "{bad}/cut.mp4: is incomplete or damaged"),
        (["{bad}/zero.mp4"], "{bad}/zero.mp4: is empty"),
        (["{bad}/nowhere.mp4"], "{bad}/nowhere.mp4: does not exist"),
        (["{bad}/empty"], "{bad}/empty: contains no videos"),
        (["{clip}", "{bad}/text.mp4"], "{bad}/text.mp4: cannot be opened as a video"),
        (["{clip}", "--every", "0"], "--every: is '0'. Give seconds such as 0.5s"),
        (["{clip}", "--every", "0s"], "--every: is '0s'"),
        (["{clip}", "--every", "-1s"], "--every: is '-1s'"),
        (["{clip}", "--every", "0.5"], "--every: is '0.5'"),
        (["{clip}", "--every", "nans"], "--every: is 'nans'"),
        (["{clip}", "--every", f"{'9' * 400}s"], "--every: is '999"),
        (["{clip}", "--every", "1s", "--scenes"], "--scenes: cannot be combined with --every"),
        (["{clip}", "--output", "{bad}/a file"], "{bad}/a file: is a file"),
        (["{clip}", "--output", "{bad}/a file/out"], "{bad}/a file/out: cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, clip, bad, tmp_path):
    before = contents(tmp_path)
    given = [argument.format(clip=clip, bad=bad) for argument in arguments]
    output = [] if "--output" in given else ["--output", tmp_path / "out"]
    result = tfod_frames(*given, *output)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"tfod: {message.format(clip=clip, bad=bad)}")
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_all_unreadable_videos_of_a_folder_are_reported(bad, tmp_path):
    result = tfod_frames(bad, "--output", tmp_path / "out")
    *faults, last = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in faults] == [
        str(bad / name) for name in ("cut.mp4", "text.mp4", "zero.mp4")
    ]
    assert last.endswith("Fix them, or leave them out; nothing was written.")
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)


def test_frames_before_the_end_of_a_truncated_video_are_written(tmp_path):
    video = write_video(tmp_path / "clip.avi", map(blocks, range(30)))
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.8)])
    result = tfod_frames(video, "--output", tmp_path / "out")
    assert numbers(tmp_path / "out")[:2] == [0, 10]
    assert re.search(r"\ntfod: .*clip\.avi: ends after [12]\.\d of 3\.0 seconds\. ", result.stderr)
    assert result.exit_code == 2


def test_interrupted_run_leaves_no_files(clip, tmp_path):
    def interrupted(stage: str, done: int, total: int | None) -> None:
        if done == 25:
            raise KeyboardInterrupt

    for output in (tmp_path / "new" / "out", tmp_path / "old"):
        (tmp_path / "old").mkdir(exist_ok=True)
        with pytest.raises(KeyboardInterrupt):
            write_frames([clip], output, "1", progress=interrupted)
        assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_leftovers_of_a_killed_run_are_replaced(clip, tmp_path):
    (tmp_path / "out" / ".partial" / "new").mkdir(parents=True)
    (tmp_path / "out" / ".partial" / "new" / "old_000000.jpg").touch()
    (tmp_path / "out" / ".partial" / LOCK).touch()
    write_frames([clip], tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 3


def test_folder_that_another_program_made_is_not_used(clip, tmp_path):
    (tmp_path / "out" / ".partial").mkdir(parents=True)
    (tmp_path / "out" / ".partial" / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match=r"\.partial: exists, and tfod needs this name"):
        write_frames([clip], tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {".partial/mine.txt"}


def test_progress_counts_all_frames(clip, tmp_path):
    steps: list[tuple[str, int, int | None]] = []
    second = write_video(tmp_path / "second.mp4", map(blocks, range(5)))
    write_frames([clip, second], tmp_path / "out", progress=lambda *step: steps.append(step))
    assert steps == [("frames", done, 35) for done in range(36)]
