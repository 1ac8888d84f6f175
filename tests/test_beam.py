"""Tests `tfod.beam` in other processes: Beam requires older releases of our packages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from helpers.beam_job import CHUNK, ITEMS
from tfod import beam
from tfod.errors import UserError

SQUARES = " ".join(str(item**2) for item in range(ITEMS))


@pytest.fixture
def job(beam_environment, tmp_path):
    """A function that runs a function of `beam_job`, killed at an item or to the end.

    It returns the result and the items that were computed.
    """

    def job(
        stop: int | None = None, function: str = "run"
    ) -> tuple[subprocess.CompletedProcess, list[int]]:
        (tmp_path / "stop").write_text(str(stop))
        log = tmp_path / "log"
        log.write_text("")
        result = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from helpers import beam_job; beam_job.{function}({str(tmp_path)!r})",
            ],
            env=beam_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return result, sorted(map(int, log.read_text().split()))

    (tmp_path / "input").write_text("data")
    return job


@pytest.mark.long
def test_killed_job_continues_where_it_was(job, tmp_path):
    result, before = job(stop=5)
    assert result.returncode == -signal.SIGKILL
    (folder,) = tmp_path.glob("beam.*.partial")
    finished = [int(file.name) for file in folder.iterdir() if file.name.isdigit()]
    assert finished
    known = {item for chunk in finished for item in range(CHUNK * chunk, CHUNK * (chunk + 1))}
    assert known <= set(before)
    result, computed = job()
    assert (result.returncode, result.stdout.strip()) == (0, SQUARES), result.stderr
    assert computed == sorted(set(range(ITEMS)) - known)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.long
def test_progress_is_reported_while_the_pipeline_runs(job):
    result, _ = job(function="show_progress")
    assert result.returncode == 0, result.stderr
    done = list(map(int, result.stdout.split()))
    assert len(done) > 2 and (done[0], done[-1]) == (0, ITEMS) and done == sorted(done)


@pytest.mark.long
def test_results_of_a_changed_input_are_not_used(job, tmp_path):
    job(stop=5)
    os.utime(tmp_path / "input", (1, 1))
    result, computed = job()
    assert (result.stdout.strip(), computed) == (SQUARES, list(range(ITEMS)))


def test_results_that_workers_cannot_write_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "new_pipeline", lambda options: None)

    def write_all_but_the_last(pipeline, work, chunks):
        for chunk in chunks[:-1]:
            work(chunk)
        work((tmp_path / "not mounted" / "0", chunks[-1][1]))

    monkeypatch.setattr(beam, "_run", write_all_but_the_last)
    results = beam.beam_map(str, range(5), beam.Cluster(["x"], tmp_path), chunk=2, files=[])
    with pytest.raises(UserError, match="a worker could not write results there"):
        list(results)
    (folder,) = tmp_path.iterdir()  # the other results can be used again
    assert sorted(file.name for file in folder.iterdir()) == [".tfod", "000000", "000001"]


def test_two_equal_jobs_do_not_disturb_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "new_pipeline", lambda options: None)
    monkeypatch.setattr(beam, "_run", lambda pipeline, work, chunks: [*map(work, chunks)])

    def job():
        return beam.beam_map(str, range(5), beam.Cluster(["x"], tmp_path), files=[])

    first = job()
    assert next(first) == "0"
    with pytest.raises(UserError, match="is being written by another tfod"):
        next(job())
    assert [*first] == ["1", "2", "3", "4"]
    assert not [*tmp_path.iterdir()]
