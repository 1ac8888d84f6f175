"""Tests the Colab notebook by running all of its cells with Jupyter's client."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from PIL import Image

from helpers.limits import scaled

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "pipelines" / "train_on_colab.ipynb"


def set_parameters(notebook: nbformat.NotebookNode, **values) -> None:
    """Sets values in the settings cell, as Colab's form does, which keeps the comments."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    lines = cell.source.splitlines()
    for name, value in values.items():
        (number,) = (n for n, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[number] = f"{name} = {value!r}  #{lines[number].partition('#')[2]}"
    cell.source = "\n".join(lines)


def printed_by(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def cell_with(notebook: nbformat.NotebookNode, text: str) -> nbformat.NotebookNode:
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source)
    return cell


@pytest.fixture
def stop_tensorboard(tmp_path, monkeypatch):
    """Stops the TensorBoard that `%tensorboard` started. TensorBoard stores its process ids."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield
    for info in (tmp_path / ".tensorboard-info").glob("pid-*.info"):
        with suppress(ProcessLookupError):
            os.kill(json.loads(info.read_text())["pid"], signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("stop_tensorboard")
def test_notebook_runs_from_images_to_tflite(sample_voc, tiny_template, tmp_path):
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("the notebook installs into .venv, and this Python is another one")
    from tfod.detection.detector import Detector

    folder = tmp_path / "my drive"  # with a space, as older Drives have
    folder.mkdir()
    shutil.make_archive(str(folder / "images"), "zip", sample_voc)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {"FOLDER": str(folder), "IMAGES": "images.zip", "NAME": "street signs"}
    set_parameters(notebook, **settings, TEMPLATE=str(tiny_template), INIT="scratch", MINUTES=1)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}

    NotebookClient(
        notebook, timeout=int(scaled(900)), kernel_name="python3", resources=resources
    ).execute()

    output = "".join(printed_by(cell) for cell in notebook.cells if cell.cell_type == "code")
    for noise in ("WARNING", "deprecated", "absl::", "Traceback"):
        assert noise not in output
    assert "written: data/street signs" in printed_by(cell_with(notebook, "tfod convert"))
    trained = cell_with(notebook, "tfod train")
    assert re.search(r"trained: runs/street signs/best/ckpt-\d", printed_by(trained))
    assert any("image/png" in output.get("data", {}) for output in trained.outputs)
    for text, html in (
        ("tfod inspect", "<iframe srcdoc="),
        ("%tensorboard", "tensorboard-frame"),
        ("tfod evaluate", "<iframe srcdoc="),
    ):
        pages = [output.get("data", {}) for output in cell_with(notebook, text).outputs]
        assert any(html in page.get("text/html", "") for page in pages), pages
    model = folder / "exported_models" / "street signs" / "model.tflite"
    assert f"{model} " in printed_by(notebook.cells[-1])
    detector = Detector.load(model)
    assert detector.labels == {1: "crosswalk", 2: "speedlimit", 3: "stop", 4: "trafficlight"}
    detector.predict(Image.new("RGB", (64, 48)))


def kill(process: subprocess.Popen) -> None:
    """Ends a process and all that it started at once, as when Colab takes the machine away."""
    parent = psutil.Process(process.pid)
    processes = [*parent.children(recursive=True), parent]
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(processes)
    process.wait()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("stop_tensorboard")
def test_notebook_killed_ten_times_continues(sample_voc, tiny_template, tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    shutil.make_archive(str(folder / "images"), "zip", sample_voc)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {"FOLDER": str(folder), "IMAGES": "images.zip", "NAME": "signs", "MINUTES": 2}
    set_parameters(notebook, **settings, TEMPLATE=str(tiny_template), INIT="scratch")
    train = cell_with(notebook, "tfod train")
    train.source = train.source.replace("--minutes", "--checkpoint-every 2 --minutes")
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"  # with `tfod`
    command = [programs / "jupyter-execute", "--inplace", tmp_path / "notebook.ipynb"]

    def run_all() -> subprocess.Popen:
        return subprocess.Popen(
            command,
            env={**os.environ, "PATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    rng = random.Random(0)

    def checkpoints() -> int:
        """Returns the number of checkpoints of the run so far."""
        numbers = (int(file.stem.split("-")[1]) for file in folder.glob("runs/signs/*.index"))
        return max(numbers, default=0)

    counts = []
    for _ in range(10):
        process = run_all()
        with suppress(subprocess.TimeoutExpired):
            process.wait(scaled(rng.uniform(5, 80)))
        kill(process)
        counts.append(checkpoints())
    assert counts == sorted(counts)  # nothing is trained again
    process = run_all()
    _, errors = process.communicate(timeout=scaled(900))
    assert process.returncode == 0, errors.decode()
    assert checkpoints() >= counts[-1] > 0
    assert (folder / "exported_models/signs/model.tflite").is_file()
    assert not list(folder.rglob("*.partial"))


def test_missing_project_url_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without `tfod`
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    set_parameters(notebook, FOLDER=str(tmp_path / "folder"))
    resources = {"metadata": {"path": str(tmp_path)}}  # not in a checkout

    with pytest.raises(Exception, match="PROJECT in the settings is empty"):
        NotebookClient(
            notebook, timeout=int(scaled(60)), kernel_name="python3", resources=resources
        ).execute()


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOK.parent.glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_notebook_is_stored_without_output(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
