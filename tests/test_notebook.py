"""The notebook for Colab, run from top to bottom as Jupyter runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "pipelines" / "train_on_colab.ipynb"


def set_parameters(notebook: nbformat.NotebookNode, **values) -> None:
    """Fills in the settings, as a person does in Colab's form; the rest of each line stays."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    lines = cell.source.splitlines()
    for name, value in values.items():
        (at,) = (n for n, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[at] = f"{name} = {value!r}  #{lines[at].partition('#')[2]}"
    cell.source = "\n".join(lines)


def said(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def cell_with(notebook: nbformat.NotebookNode, words: str) -> nbformat.NotebookNode:
    (found,) = (
        cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source
    )
    return found


@pytest.fixture
def tensorboard_ends(tmp_path, monkeypatch):
    """Ends what `%tensorboard` leaves running: TensorBoard notes its processes in a folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield
    for note in (tmp_path / ".tensorboard-info").glob("pid-*.info"):
        with suppress(ProcessLookupError):
            os.kill(json.loads(note.read_text())["pid"], signal.SIGTERM)


@pytest.mark.long
@pytest.mark.usefixtures("tensorboard_ends")
def test_it_runs_from_pictures_to_tflite(sample_voc, tiny_template, tmp_path):
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("the notebook installs into .venv, which these tests do not run from")
    from tfod.detection.detector import Detector

    folder = tmp_path / "my drive"  # with a space, as "My Drive" once had
    folder.mkdir()
    shutil.make_archive(str(folder / "pictures"), "zip", sample_voc)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {"FOLDER": str(folder), "PICTURES": "pictures.zip", "NAME": "street signs"}
    set_parameters(notebook, **settings, TEMPLATE=str(tiny_template), INIT="scratch", STEPS=2)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}

    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()

    everything = "".join(said(cell) for cell in notebook.cells if cell.cell_type == "code")
    for chatter in ("WARNING", "deprecated", "absl::", "Traceback"):
        assert chatter not in everything
    assert "written: data/street signs" in said(cell_with(notebook, "tfod convert"))
    trained = cell_with(notebook, "tfod train")
    assert "trained: runs/street signs/best/ckpt-2" in said(trained)
    assert any("image/png" in output.get("data", {}) for output in trained.outputs)
    for words, shown in (
        ("tfod inspect", "<iframe srcdoc="),
        ("%tensorboard", "tensorboard-frame"),
        ("tfod evaluate", "<iframe srcdoc="),
    ):
        pages = [output.get("data", {}) for output in cell_with(notebook, words).outputs]
        assert any(shown in page.get("text/html", "") for page in pages), pages
    model = folder / "exported_models" / "street signs" / "model.tflite"
    assert f"{model} " in said(notebook.cells[-1])
    detector = Detector.load(model)
    assert detector.labels == {1: "crosswalk", 2: "speedlimit", 3: "stop", 4: "trafficlight"}
    detector.predict(Image.new("RGB", (64, 48)))


def test_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # where `tfod` is not
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    set_parameters(notebook, FOLDER=str(tmp_path / "folder"))
    resources = {"metadata": {"path": str(tmp_path)}}  # no copy of the project lies here

    with pytest.raises(Exception, match="PROJECT in the settings is empty"):
        NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()


def test_it_is_stored_without_output():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
