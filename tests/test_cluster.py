"""Tests the scripts of `tools/cluster`: every worker gets its place in the same list of workers."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "tools" / "cluster"
OPTIONS = ["--data", "my data/signs", "--batch-size", "64"]
# Writes what it got. A file for each, since workers print at the same time.
TFOD = """#!/usr/bin/env python3
import json, os, sys
config = json.loads(os.environ["TF_CONFIG"])
with open(f"{os.environ['RESULTS']}/{config['task']['index']}.json", "w") as file:
    json.dump({"config": config, "arguments": sys.argv[1:], "folder": os.getcwd()}, file)
"""
SCONTROL = """#!/bin/sh
[ "$*" = "show hostnames node[7-9]" ] && echo "node7\nnode8\nnode9"
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for number in 0 1 2; do SLURM_PROCID=$number "$@" & done
wait
"""
SSH = """#!/bin/bash
[ "$1" = -tt ] && cd / && exec bash -c "$3"
"""


@pytest.fixture
def run(tmp_path):
    """A function that runs a script in a project, and returns what each worker got."""
    project, programs, results = (tmp_path / name for name in ("a project", "bin", "results"))
    for folder in (project, programs, results):
        folder.mkdir()
    shutil.copytree(CLUSTER, project / "tools/cluster")
    for name, text in {"tfod": TFOD, "scontrol": SCONTROL, "srun": SRUN, "ssh": SSH}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(*command: object, **environment: str) -> list[dict]:
        subprocess.run(
            list(map(str, command)),
            cwd=project,
            env={**os.environ, "PATH": path, "RESULTS": str(results), **environment},
            check=True,
            timeout=60,
        )
        return [json.loads(file.read_text()) for file in sorted(results.iterdir())]

    return run


def assert_workers(got: list[dict], workers: list[str], options: list[str]) -> None:
    assert len(got) == len(workers)
    for index, one in enumerate(got):
        task = {"type": "worker", "index": index}
        assert one["config"] == {"cluster": {"worker": workers}, "task": task}
        assert one["arguments"] == ["train", *options]
        assert Path(one["folder"]).name == "a project"


def test_worker(run):
    [got] = run("tools/cluster/worker.sh", "a:1 b.example.org:22", 0, *OPTIONS)
    assert got["config"]["cluster"]["worker"] == ["a:1", "b.example.org:22"]
    assert got["arguments"] == ["train", *OPTIONS]


def test_slurm(run):
    job = {"SLURM_JOB_NODELIST": "node[7-9]", "SLURM_SUBMIT_DIR": "."}
    got = run("tools/cluster/slurm.sh", *OPTIONS, **job)
    assert_workers(got, ["node7:2222", "node8:2222", "node9:2222"], OPTIONS)


def test_ssh(run):
    got = run("tools/cluster/ssh.sh", "one two", *OPTIONS)
    assert_workers(got, ["one:2222", "two:2222"], OPTIONS)


def test_kubernetes(run):
    service, job = yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 4
    [container] = pod["containers"]
    [variable] = container["env"]
    names = [f"{job['metadata']['name']}-{index}.{pod['subdomain']}:2222" for index in range(4)]
    for index in range(4):
        environment = {variable["name"]: variable["value"], "JOB_COMPLETION_INDEX": str(index)}
        got = run(*container["command"], *container["args"], **environment)
    assert_workers(got, names, container["args"])
