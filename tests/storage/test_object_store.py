"""Tests commands with URLs of an object store, which fails on purpose."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.cluster import cluster_configs
from helpers.files import contents
from helpers.limits import scaled
from tfod.commands.options import SHIPPED_MODEL

pytestmark = pytest.mark.long

CONVERT = [
    *("convert", "--annotations", "s3://bucket/xml", "--images", "s3://bucket/images"),
    *("--split", "0.5,0.25,0.25", "--workers", "1"),
]
TO_STORE = ["--output", "s3://bucket/data/one"]


@pytest.fixture
def filled(store, voc):
    """The store with the images and annotations of `voc`."""
    store.put_folder("images", voc / "images")
    store.put_folder("xml", voc / "xml")
    return store


def cached(cache: Path, path: str) -> Path:
    return cache / "tfod/store/s3/bucket" / path


def assert_converted(store, cache: Path, *options: str) -> None:
    code, output, errors = store.run(cache, *CONVERT, *TO_STORE, *options)
    assert code == 0, errors
    assert "written: s3://bucket/data/one" in output


def test_a_data_set_in_a_store_is_that_of_local_files(filled, voc, tmp_path):
    assert_converted(filled, tmp_path / "cache")
    local = [str(part).replace("s3://bucket", str(voc)) for part in CONVERT]
    assert filled.run(tmp_path / "cache", *local, "--output", tmp_path / "local")[0] == 0

    assert filled.contents("data/one/") == contents(tmp_path / "local")
    # Another machine reads it.
    code, output, _ = filled.run(tmp_path / "other", "inspect", "s3://bucket/data/one")
    assert code == 0 and "training images of: stop (6)" in output


def test_a_data_set_is_only_replaced_with_overwrite(filled, tmp_path):
    assert_converted(filled, tmp_path / "cache", "--shards", "2")
    before = filled.contents("data/one/")
    code, _, errors = filled.run(tmp_path / "other", *CONVERT, *TO_STORE)
    assert code == 2
    assert errors.splitlines() == [
        "tfod: s3://bucket/data/one: already exists. Choose another URL, or add --overwrite."
    ]
    assert filled.contents("data/one/") == before

    assert_converted(filled, tmp_path / "other", "--shards", "1", "--overwrite")
    names = filled.contents("data/one/")
    assert "train-00000-of-00001.tfrecord" in names
    assert not [name for name in names if "of-00002" in name]  # of the replaced data set


def test_other_folders_are_not_replaced(filled, tmp_path):
    before = filled.contents()
    code, _, errors = filled.run(
        tmp_path / "cache", *CONVERT, "--output", "s3://bucket/images", "--overwrite"
    )
    assert code == 2
    assert errors.splitlines()[-1].startswith("tfod: s3://bucket/images: would replace")
    assert filled.contents() == before


def test_faults_of_the_store_are_repeated(filled, voc, tmp_path):
    filled.proxy.faults = ["503", "cut", "stall", "503", "503", "cut"]
    assert_converted(filled, tmp_path / "cache")
    assert not filled.proxy.faults
    copies = contents(cached(tmp_path / "cache", "images"))
    assert copies == contents(voc / "images")


def test_a_store_that_does_not_answer_is_one_line(filled, tmp_path):
    filled.proxy.failing = ("GET", "HEAD")
    code, _, errors = filled.run(tmp_path / "cache", "inspect", "s3://bucket/data/one")
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith("tfod: s3://bucket/data/one: cannot be read: ")
    assert "Reduce your request rate" in line
    assert line.endswith("the credentials and the network, and repeat the command.")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://nobucket/data", "cannot be read: The specified bucket does not exist."),
        ("s3://bucket/data", "is not a folder"),
        ("s3://", "names no bucket. Give a URL such as s3://BUCKET/FOLDER."),
        ("s3://bucket/../data", "cannot be the name of a local file"),
    ],
)
def test_wrong_urls_are_reported(store, tmp_path, url, message):
    code, _, errors = store.run(tmp_path / "cache", "inspect", url)
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith("tfod: s3://") and message in line


def test_files_with_hostile_names_are_refused(filled, tmp_path):
    filled.put("images/%2E%2E/%2E%2E/%2E%2E/%2E%2E/evil.png", b"content")
    before = set(tmp_path.rglob("*"))
    code, _, errors = filled.run(tmp_path / "cache", *CONVERT, *TO_STORE)
    assert code == 2
    assert "evil.png': cannot be the name of a local file. Rename it" in errors
    new = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "cache") for path in new)
    assert not [path for path in new if path.name == "evil.png"]


def test_a_killed_download_goes_on(filled, tmp_path):
    for number in range(600):  # more than one batch
        filled.put(f"images/more/{number}.txt", bytes(100))
    filled.proxy.delay = 0.03
    process = filled.start(tmp_path / "cache", *CONVERT, *TO_STORE)
    end = time.monotonic() + scaled(60)
    images = cached(tmp_path / "cache", "images")
    while not images.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    filled.proxy.delay = 0
    time.sleep(1)  # answers that are under way
    there = len([path for path in images.rglob("*") if path.is_file()])
    assert 0 < there < 612

    filled.proxy.downloads.clear()
    assert_converted(filled, tmp_path / "cache")
    again = [path for path in filled.proxy.downloads if path.startswith("/bucket/images")]
    assert len(again) == 612 - there


def test_only_what_has_changed_is_downloaded(filled, tmp_path):
    cache = tmp_path / "cache"
    assert_converted(filled, cache)
    filled.put("xml/3.xml", filled.contents("xml/3.xml")[""].replace(b"<xmin>3<", b"<xmin>4<"))
    filled.delete("images/5.png")
    filled.delete("xml/5.xml")
    filled.proxy.downloads.clear()
    assert_converted(filled, cache, "--overwrite")
    assert filled.proxy.downloads == ["/bucket/xml/3.xml"]
    assert not cached(cache, "images/5.png").exists()
    splits = json.loads(filled.contents("data/one/dataset.json")[""])["splits"]
    assert sum(split["images"] for split in splits.values()) == 11


def test_a_file_that_has_changed_on_both_sides_is_kept_on_both(filled, tmp_path):
    cache = tmp_path / "cache"
    assert_converted(filled, cache)
    copy = cached(cache, "xml/3.xml")
    copy.write_text("mine")
    filled.put("xml/3.xml", b"theirs")
    code, _, errors = filled.run(cache, *CONVERT, *TO_STORE, "--overwrite")
    assert code == 2
    assert "has changed in the store and in the local copy" in errors.splitlines()[-1]
    assert copy.read_text() == "mine"
    assert filled.contents("xml/3.xml")[""] == b"theirs"


@pytest.mark.slow
def test_results_of_a_failed_upload_are_uploaded_later(filled, tmp_path):
    cache = tmp_path / "cache"
    filled.proxy.failing = ("PUT", "POST")
    code, output, errors = filled.run(cache, *CONVERT, *TO_STORE)
    assert code == 2
    assert "images" in output and "written" not in output
    assert "s3://bucket/data/one: cannot be written: " in errors.splitlines()[-1]
    assert not filled.contents("data/one/")

    filled.proxy.failing = ()
    code, _, errors = filled.run(cache, "inspect", "s3://bucket/data/one")
    assert code == 0, errors
    assert "dataset.json" in filled.contents("data/one/")


def test_only_new_files_are_uploaded(filled, tmp_path):
    """Two models with similar names are not results of one another."""
    model = SHIPPED_MODEL.read_bytes()
    for name in ("model.tflite", "model_2.tflite"):
        filled.put(f"models/{name}", model)
    for number, name in enumerate(("model.tflite", "model_2.tflite", "model.tflite")):
        code, output, errors = filled.run(
            *(tmp_path / "cache", "predict", "--model", f"s3://bucket/models/{name}"),
            *("s3://bucket/images/3.png", "--csv", f"s3://bucket/results/{number}.csv"),
        )
        assert code == 0, errors
        assert "s3://bucket/images/3.png: " in output
    assert filled.proxy.uploads == [f"/bucket/results/{number}.csv" for number in range(3)]


def test_names_with_brackets_are_not_patterns(filled, tmp_path):
    cache = tmp_path / "cache"
    folder = "s3://bucket/data/set[1]"
    assert filled.run(cache, *CONVERT, "--output", folder, "--shards", "2")[0] == 0
    filled.put("data/set1/train-00000-of-00002.tfrecord", b"mine")
    code, _, errors = filled.run(
        cache, *CONVERT, "--output", folder, "--shards", "1", "--overwrite"
    )
    assert code == 0, errors
    assert filled.contents("data/set1/") == {"train-00000-of-00002.tfrecord": b"mine"}
    assert not [name for name in filled.contents("data/set[1]/") if "of-00002" in name]


def test_missing_package_is_named(store, tmp_path):
    process = store.start(
        tmp_path / "cache", "inspect", "s3://bucket/data", PYTHONPATH=str(Path("tools").resolve())
    )
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 2
    assert errors.splitlines() == [
        "tfod: s3://bucket/data: needs the package s3fs. Install it: pip install s3fs."
    ]


def finish(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=scaled(600))
    assert process.returncode == 0, errors
    return output


def train_command(template: Path) -> list[object]:
    return [
        *("train", "--data", "s3://bucket/data/one", "--output", "s3://bucket/runs/one"),
        *("--pipeline", template, "--init", "scratch", "--steps", "30"),
        *("--checkpoint-every", "5", "--eval-every", "15", "--batch-size", "2"),
    ]


@pytest.mark.slow
def test_a_run_continues_on_another_machine(filled, tiny_template, tmp_path):
    assert_converted(filled, tmp_path / "cache")
    command = train_command(tiny_template)
    process = filled.start(tmp_path / "cache", *command)
    end = time.monotonic() + scaled(200)
    while "ckpt-2.index" not in filled.contents("runs/one/"):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (first,) = (name for name in filled.contents("runs/one/train/"))

    output = finish(filled.start(tmp_path / "other", *command))
    assert "trained: s3://bucket/runs/one/best/ckpt-" in output
    run = filled.contents("runs/one/")
    assert f"train/{first}" in run  # the log of the first machine
    assert {"ckpt-6.index", "best/checkpoint", "metrics.csv"} <= run.keys()
    assert "ckpt-1.index" not in run  # only the newest ones are kept
    assert b"s3://bucket/data/one/label_map.pbtxt" in run["pipeline.config"]
    steps = [line.split(b",")[0] for line in run["metrics.csv"].splitlines()[1:]]
    assert steps.index(b"10") < steps.index(b"30")

    third = tmp_path / "third"
    code, _, errors = filled.run(
        *(third, "export", "--run", "s3://bucket/runs/one", "--tflite", "float32,int8"),
        *("--output", "s3://bucket/models/one"),
    )
    assert code == 0, errors
    assert {"model.tflite", "model_int8.tflite"} <= filled.contents("models/one/").keys()
    code, output, errors = filled.run(
        *(tmp_path / "fourth", "predict", "--model", "s3://bucket/models/one/model.tflite"),
        *("s3://bucket/images/3.png", "--csv", "s3://bucket/results/boxes.csv"),
    )
    assert code == 0, errors
    assert "s3://bucket/images/3.png: " in output
    assert list(filled.contents("results/")) == ["boxes.csv"]


@pytest.mark.slow
def test_workers_without_a_common_file_system_share_a_run(filled, tiny_template, tmp_path):
    """Each has its own cache, as if it were another machine."""
    assert_converted(filled, tmp_path / "cache")
    command = train_command(tiny_template)

    def start_workers(caches: list[str]) -> list[subprocess.Popen]:
        configs = zip(caches, cluster_configs(2), strict=True)
        return [
            filled.start(tmp_path / cache, *command, TF_CONFIG=config) for cache, config in configs
        ]

    workers = start_workers(["first", "second"])
    end = time.monotonic() + scaled(200)
    while "ckpt-2.index" not in filled.contents("runs/one/"):
        assert time.monotonic() < end and all(worker.poll() is None for worker in workers)
        time.sleep(0.2)
    for worker in workers:
        worker.kill()
        worker.communicate()

    # The second machine is replaced, and the first one may have more than the store.
    index = cached(tmp_path / "first", "runs/one/checkpoint")
    before = index.read_text()
    for worker in start_workers(["first", "third"]):
        assert "trained: s3://bucket/runs/one/best/ckpt-" in finish(worker)
    assert index.read_text() != before
    assert filled.contents("runs/one/checkpoint")[""].decode() == index.read_text()
    runs = [contents(cached(tmp_path / name, "runs/one")) for name in ("first", "third")]
    assert runs[0] == runs[1]
