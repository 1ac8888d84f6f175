"""Tests that Ctrl-C ends a command with one line at any moment, and leaves nothing half-written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.limits import scaled
from helpers.video_files import noise, write_video
from helpers.voc_files import voc_object, write_image, write_xml

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
LINE = (
    "tfod: interrupted. Repeat the command: training (without --overwrite), downloads and "
    "--runner resume, other commands start again."
)
# Runs tfod, and presses Ctrl-C when it imports a module.
INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)

MODULE = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupter())
runpy.run_module("tfod", run_name="__main__")
"""


@pytest.fixture(scope="module")
def voc(tmp_path_factory) -> list[str]:
    """Options for a VOC folder of 300 images, enough for several processes."""
    folder = tmp_path_factory.mktemp("voc")
    for number in range(300):
        color = (number % 256, number // 256, 0)
        write_image(folder / f"images/{number}.png", color=color)
        write_xml(folder / f"xml/{number}.xml", voc_object(), filename=f"{number}.png")
    return ["--annotations", str(folder / "xml"), "--images", str(folder / "images")]


def assert_interrupted(process: subprocess.Popen, output: Path) -> None:
    stdout, stderr = process.communicate(timeout=scaled(60))
    bars = re.compile(r"(check|write|scenes|frames):.*")
    lines = [line for line in re.split(r"[\r\n]+", stderr) if line and not bars.fullmatch(line)]
    assert (process.returncode, lines, stdout) == (130, [LINE], "")
    assert not list(output.parent.glob(f"{output.name}*"))


def interrupt_import(module: str, *command: str | Path) -> subprocess.Popen:
    """Starts tfod, which is interrupted when it imports a module."""
    return subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_IMPORT, module, *command],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "module",
    [
        *("click", "tfod.commands.train"),  # before the command
        *("numpy.linalg", "PIL.Image", "tfod.sample.scene"),  # in the command
    ],
)
def test_interrupted_import_is_one_line(module, tmp_path):
    output = tmp_path / "voc"
    process = interrupt_import(module, "sample", "--output", output, "--count", "1")
    assert_interrupted(process, output)


def test_interrupted_import_while_a_folder_is_written_leaves_no_folder(tmp_path, voc):
    output = tmp_path / "data"
    module = "google.protobuf.text_format"  # for the label map
    process = interrupt_import(module, "convert", *voc, "--output", output)
    assert_interrupted(process, output)


def test_ctrl_c_is_not_lost_in_an_import_that_ignores_errors(tmp_path):
    (tmp_path / "careless.py").write_text(
        "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException: pass\n"
    )
    code = (
        "import time\n"
        "from tfod import interruption\n"
        "interruption.handle_ctrl_c()\n"
        "with interruption.cleanup():\n"
        "    import careless\n"
        "    try: time.sleep(60)\n"
        "    except KeyboardInterrupt: print('cleaned up')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(30),
    )
    assert (result.stdout, result.stderr) == ("cleaned up\n", "")


@pytest.mark.parametrize("seconds", [0, 0.1, 0.3])
def test_ctrl_c_in_a_terminal_ends_all_processes_of_a_conversion(tmp_path, voc, seconds):
    """A terminal sends the signal to all processes of a command."""
    output = tmp_path / "data"
    command = [sys.executable, "-m", "tfod", "convert", *voc, "--output", str(output)]
    process = subprocess.Popen(
        [*command, "--workers", "2"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "data.partial").exists() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    if output.exists():
        pytest.skip("the conversion was faster")
    os.killpg(process.pid, signal.SIGINT)
    assert_interrupted(process, output)


def test_ctrl_c_while_frames_are_written_leaves_the_folder_unchanged(tmp_path):
    video = write_video(tmp_path / "clip.mp4", map(noise, range(1000)))
    output = tmp_path / "images"
    output.mkdir()
    (output / "a.xml").write_text("precious")
    command = [sys.executable, "-m", "tfod", "frames", video, "--output", output, "--every", "1"]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(output.glob(".partial/new/*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert_interrupted(process, tmp_path / "nothing")
    assert [path.name for path in output.iterdir()] == ["a.xml"]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_terminal_that_cannot_show_a_character_shows_its_code(tmp_path, encoding):
    write_image(tmp_path / "images/a.png")
    write_xml(tmp_path / "xml/a.xml", voc_object("停车 é"), filename="a.png")
    folders = ["--annotations", tmp_path / "xml", "--images", tmp_path / "images"]
    command = [sys.executable, "-m", "tfod", "convert", *folders, "--output", tmp_path / "停"]
    result = subprocess.run(
        [*command, "--split", "1,0,0"],
        env={**ENVIRONMENT, "PYTHONIOENCODING": encoding, "COLUMNS": "80"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    table, written = result.stdout.rsplit(b"\n", 2)[:2]
    accent = b"\xe9" if encoding == "latin-1" else rb"\xe9"
    assert rb"| \u505c\u8f66 " + accent + b" |" in table
    assert len({len(line) for line in table.splitlines()}) == 1  # columns are aligned
    # Where the encoding is ASCII, click assumes that it is not set, and writes UTF-8.
    name = "停".encode() if encoding == "ascii" else rb"\u505c"
    assert written == f"written: {tmp_path}/".encode() + name
