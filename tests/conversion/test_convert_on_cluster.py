"""Tests `tfod convert --runner`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from helpers.beam import LOCAL, TWO_WORKERS, tfod
from helpers.files import contents
from helpers.voc_files import voc_object, write_image, write_xml


@pytest.fixture
def images(tmp_path) -> None:
    """150 images with annotations, which are three chunks of `beam_map`."""
    for number in range(150):
        color = (number, 255 - number, 7)
        write_image(tmp_path / f"images/{number}.png", color=color)
        write_xml(
            tmp_path / f"xml/{number}.xml",
            voc_object(box=(number % 20, 2, 30, 12)),
            filename=f"{number}.png",
        )


@pytest.fixture
def convert(beam_environment, images, tmp_path):
    """A function that runs `tfod convert` on tmp_path/xml and tmp_path/images."""

    def convert(output: str, *options: str) -> subprocess.CompletedProcess:
        folders = ["--annotations", "xml", "--images", "images", "--output", output]
        command = ["convert", *folders, "--seed", "3", *options]
        return tfod(beam_environment, tmp_path, *command)

    return convert


@pytest.mark.long
@pytest.mark.parametrize(
    ("runner", "changes"),
    [(LOCAL, []), (TWO_WORKERS, []), (LOCAL, ["--tiles", "32"])],
    ids=["one worker", "two workers", "tiles"],
)
def test_beam_writes_the_same_bytes(convert, tmp_path, runner, changes):
    for output, options in (("local", ["--workers", "1"]), ("beam", runner)):
        result = convert(output, "--shards", "3", *changes, *options)
        assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "local") == contents(tmp_path / "beam")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.long
def test_errors_are_reported_without_traceback(convert, tmp_path):
    (tmp_path / "images/7.png").unlink()
    result = convert("beam", *LOCAL)
    assert result.returncode == 2
    assert "tfod: xml/7.xml: no image '7.png' in images." in result.stderr
    assert "Traceback" not in result.stderr
    result = convert("beam", "--runner", "NoRunner")
    assert result.returncode == 2
    assert "tfod: --runner: Unexpected pipeline runner: NoRunner" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "xml"]


# Converts, but computes only the first of the chunks that are missing, and is killed then.
KILLED = """
import os
from pathlib import Path
from tfod import beam
from tfod.conversion import convert

def work_once(pipeline, work, chunks):
    work(chunks[0])
    os._exit(9)

beam.new_pipeline, beam._run = lambda options: None, work_once
options = {"label_map": Path("labels.pbtxt"), "beam": ["--runner=x"]}
convert(Path("xml"), Path("images"), Path("data"), **options)
"""


def test_killed_check_continues_if_no_file_has_changed(images, tmp_path):
    label_map = "item { id: 1 name: 'stop' } item { id: 2 name: 'tram' } item { id: 3 name: 'bus' }"
    (tmp_path / "labels.pbtxt").write_text(label_map)
    # Chunks of `beam_map` that exist after each time, for each job.
    for seed, changed, chunks in ((1, None, [1]), (2, None, [2]), (3, "xml/7.xml", [1, 2])):
        if changed is not None:
            os.utime(tmp_path / changed, (1, 1))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment["PYTHONHASHSEED"] = str(seed)  # another order of sets
        command = [sys.executable, "-c", KILLED]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 9, result.stderr
        jobs = tmp_path.glob("beam.*.partial")
        assert sorted(len(list(job.glob("0*"))) for job in jobs) == chunks


@pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is not None, reason="apache-beam is installed"
)
def test_missing_beam_is_reported(tmp_path):
    from tfod.conversion.converter import convert
    from tfod.errors import UserError

    write_image(tmp_path / "images/a.jpg")
    write_xml(tmp_path / "xml/a.xml", voc_object())
    with pytest.raises(UserError, match=r"needs apache-beam\. Install it: pip install"):
        convert(tmp_path / "xml", tmp_path / "images", tmp_path / "out", beam=["--runner=x"])
