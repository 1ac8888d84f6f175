"""Tests `conversion.beam` in other processes: Beam requires older releases of our packages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.files import contents
from helpers.voc_files import voc_object, write_image, write_xml

TOOLS = Path(__file__).parents[2] / "tools"
LOCAL = ["--runner", "DirectRunner"]
TWO_WORKERS = [
    *(*LOCAL, "--runner-option", "direct_num_workers=2"),
    *("--runner-option", "direct_running_mode=multi_processing"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables of a process that can import apache_beam and tfod."""
    paths = [str(TOOLS)]
    if importlib.util.find_spec("apache_beam") is None:
        uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
        if uv is None:
            pytest.skip("apache-beam is not installed, and there is no uv to install it")
        folder = tmp_path_factory.mktemp("beam")
        command = [uv, "pip", "install", "--quiet", "--target", folder, "--python", sys.executable]
        result = subprocess.run(
            [*command, "--only-binary", ":all:", "apache-beam"],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            pytest.skip(f"apache-beam cannot be installed: {result.stderr.strip()[-200:]}")
        paths.insert(0, str(folder))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def convert(environment, tmp_path):
    """A function that runs `tfod convert` on tmp_path/xml and tmp_path/images."""

    def convert(output: str, *options: str) -> subprocess.CompletedProcess:
        folders = ["--annotations", "xml", "--images", "images", "--output", output]
        return subprocess.run(
            [sys.executable, "-m", "tfod", "convert", *folders, "--seed", "3", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    for number in range(150):  # more than one chunk
        color = (number, 255 - number, 7)
        write_image(tmp_path / f"images/{number}.png", color=color)
        write_xml(
            tmp_path / f"xml/{number}.xml",
            voc_object(box=(number % 20, 2, 30, 12)),
            filename=f"{number}.png",
        )
    return convert


@pytest.mark.long
@pytest.mark.parametrize("runner", [LOCAL, TWO_WORKERS], ids=["one worker", "two workers"])
def test_beam_writes_the_same_bytes(convert, tmp_path, runner):
    for output, options in (("local", ["--workers", "1"]), ("beam", runner)):
        result = convert(output, "--shards", "3", *options)
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
