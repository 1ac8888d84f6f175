"""Tests `export.parity`: which times it measures, and the table that `tfod export` prints."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tfod.commands.export import _print_parity
from tfod.export import parity
from tfod.export.parity import Reference, measure_parity


@pytest.mark.parametrize("one_thread", [True, False])
def test_two_threads_are_measured_only_if_the_file_may_use_them(
    one_thread, tmp_path, monkeypatch, capsys
):
    path, table = tmp_path / "model.tflite", tmp_path / "parity.csv"
    path.write_bytes(bytes(20_000))
    monkeypatch.setattr(parity.Detector, "load", lambda path, threads: threads)
    monkeypatch.setattr(parity, "read_tflite", lambda path: SimpleNamespace(one_thread=one_thread))
    monkeypatch.setattr(parity, "latency", lambda threads, reference: 10.0 * threads)
    monkeypatch.setattr(parity, "_compare_boxes", lambda *arguments: (0.00123, 0.25))
    measured = measure_parity(Reference([], [], [], None, {1: "cat"}), [path], 0.5)
    measured.to_csv(table, index=False)
    _print_parity(table)
    line = next(line for line in capsys.readouterr().out.splitlines() if path.name in line)
    two_threads = "-" if one_thread else "20.0"
    assert line.replace("│", " ").split() == [
        *("model.tflite", "0.02", "-", "0.00123", "25.0%", "10.0", two_threads)
    ]
