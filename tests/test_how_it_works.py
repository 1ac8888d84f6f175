"""Tests the notebook that explains detectors: its cells run, and no option is left out."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.limits import scaled
from tfod.model.pipeline import read_pipeline
from tfod.model.templates import find_template, template_names

NOTEBOOK = Path(__file__).parents[1] / "pipelines" / "how_it_works.ipynb"


def options_in(message) -> set[str]:
    """Returns the names of all fields that are set in a proto, at any depth."""
    names = set()
    for field, value in message.ListFields():
        names.add(field.name)
        if field.message_type:
            for child in value if isinstance(value, list) or hasattr(value, "append") else [value]:
                names |= options_in(child)
    return names


def test_every_option_of_the_templates_is_explained():
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    explained = set(re.findall(r"`([a-z0-9_]+)`", text))
    options = set()
    for name in template_names():
        options |= options_in(read_pipeline(find_template(name)))
    assert len(options) > 100
    assert not options - explained


@pytest.mark.long
def test_all_cells_run(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # other programs' choice would show no plots
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(
        notebook, timeout=int(scaled(120)), kernel_name="python3", resources=resources
    ).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 9
    assert "12804 anchors for an input of 320 x 320 pixels" in printed
    # For p of 0.1, 0.5, 0.9 and 0.99.
    assert re.search(r"object +counts less by +4\.9 +[\d.]+ +400\.0 40,000\.\d", printed)
    own, expected = re.search(
        r"AP50 as above: ([\d.]+), of tfod evaluate: ([\d.]+)", printed
    ).groups()
    assert own == expected and float(own) > 0.5
    for noise in ("Warning", "WARNING", "Traceback", "absl::", "cuda", "XNNPACK"):
        assert noise not in printed
