"""Tests `--runner` of the commands that run a detector."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.beam import LOCAL, TWO_WORKERS, tfod
from helpers.files import contents
from helpers.limits import scaled
from helpers.video_files import gray, write_video
from tfod import beam
from tfod.beam import CHUNK, Cluster
from tfod.cli import main
from tfod.commands.options import SHIPPED_MODEL
from tfod.detection import on_cluster
from tfod.detection.detector import Detector, DetectorSource
from tfod.detection.prediction import predict_records
from tfod.errors import UserError


@pytest.fixture
def without_beam(monkeypatch):
    """Runs the tasks of a pipeline one after another in this process."""
    monkeypatch.setattr(beam, "new_pipeline", lambda options: None)
    monkeypatch.setattr(beam, "_run", lambda pipeline, work, chunks: [*map(work, chunks)])


@pytest.fixture(scope="module")
def folder(sample_voc, tmp_path_factory) -> Path:
    """A folder with a model, records for two tasks, and a few images, one of which is damaged."""
    from tfod.conversion.converter import convert

    folder = tmp_path_factory.mktemp("cluster")
    images = sorted((sample_voc / "images").iterdir())
    for kind in ("many", "few", "annotations"):
        (folder / kind).mkdir()
    for number in range(CHUNK + 6):
        image = images[number % len(images)]
        name = f"{number}{image.suffix}"
        shutil.copy(image, folder / "many" / name)
        xml = sample_voc / "annotations" / f"{image.stem}.xml"
        annotation = xml.read_text().replace(image.name, name)
        (folder / f"annotations/{number}.xml").write_text(annotation)
    convert(folder / "annotations", folder / "many", folder / "data", split=(0, 0, 1), shards=3)
    for image in images[:5]:
        shutil.copy(image, folder / "few")
    (folder / "few/damaged.jpg").write_bytes(images[0].read_bytes()[:2000])
    shutil.copy(SHIPPED_MODEL, folder / "model.tflite")
    return folder


MODEL = ["--model", "model.tflite"]
EVALUATE = ["evaluate", *MODEL, "--data", "data"]


def run_all(environment, folder: Path, data: Path, output: str, *runner: str) -> list[str]:
    """Runs the commands, and returns what they print."""
    (folder / output).mkdir()
    files = ["--csv", f"{output}/table.csv", "--json", f"{output}/results.json"]
    printed: list[str] = []
    for code, arguments in (
        (0, [*EVALUATE, "--output", f"{output}/report"]),
        (2, ["predict", *MODEL, "few", "--output", f"{output}/drawn", *files]),
        (0, ["inspect", data, *MODEL, "--output", f"{output}/page"]),
    ):
        result = tfod(environment, folder, *arguments, *runner)
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        assert ("on the cluster: 100%" in result.stderr) == bool(runner)
        errors = [line for line in result.stderr.splitlines() if line.startswith("tfod: ")]
        printed += [line.replace(output, "") for line in result.stdout.splitlines() + errors]
    return printed


@pytest.fixture(scope="module")
def local(beam_environment, folder, data) -> list[str]:
    return run_all(beam_environment, folder, data.folder, "local")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "runner"), [("one_worker", LOCAL), ("two_workers", TWO_WORKERS)]
)
def test_outputs_are_those_of_a_local_run(beam_environment, folder, data, local, output, runner):
    assert run_all(beam_environment, folder, data.folder, output, *runner) == local
    assert contents(folder / output) == contents(folder / "local")
    assert any("damaged.jpg: cannot be decoded" in line for line in local)
    assert not list(folder.rglob("*.partial"))


@pytest.mark.long
def test_killed_evaluation_uses_its_detections_again(beam_environment, folder, tmp_path):
    model = tmp_path / "model.tflite"
    shutil.copy(SHIPPED_MODEL, model)
    arguments = ["evaluate", "--model", model, "--data", folder / "data", *LOCAL]
    command = [sys.executable, "-m", "tfod", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=beam_environment, stderr=subprocess.DEVNULL
    ) as process:
        limit = time.monotonic() + scaled(120)
        while not (finished := list(tmp_path.glob("beam.*.partial/0000*"))):
            assert time.monotonic() < limit and process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finished[0].write_bytes(pickle.dumps([UserError("chunk", "was read again", "Good")]))
    result = tfod(beam_environment, tmp_path, *arguments)
    assert result.returncode == 2
    assert "tfod: chunk: was read again. Good." in result.stderr
    assert list(tmp_path.iterdir()) == [model]


def test_bars_show_the_pipeline_and_then_its_results(data, sample_voc, tmp_path, without_beam):
    image = min((sample_voc / "images").iterdir())
    for command in (
        ["evaluate", "--data", data.folder, "--output", tmp_path / "report"],
        ["predict", image],
    ):
        command += ["--model", SHIPPED_MODEL, *LOCAL]
        result = CliRunner().invoke(main, list(map(str, command)))
        assert result.exit_code == 0, result.output
        complete = [bar for bar in re.split(r"[\r\n]+", result.stderr) if ": 100%" in bar]
        names = list(dict.fromkeys(bar.split(":")[0] for bar in complete))
        assert names == ["on the cluster", "images"]


def test_detector_is_loaded_once_and_not_pickled(data, tmp_path, without_beam, monkeypatch):
    model = tmp_path / "model.tflite"
    shutil.copy(SHIPPED_MODEL, model)
    detector = Detector.load(model)
    loaded = []
    monkeypatch.setattr(DetectorSource, "load", lambda source: loaded.append(source) or detector)
    pickled = []
    run = beam._run

    def run_pickled(pipeline, work, chunks):
        pickled.append(pickle.dumps(work))
        run(pipeline, pickle.loads(pickled[-1]), chunks)

    monkeypatch.setattr(beam, "_run", run_pickled)
    shards = data.split("train").shards
    local = list(predict_records(detector, shards))
    for count in (1, 1, 2):
        if count == 2:
            os.utime(model, (1, 1))  # the model was written again
        found = list(predict_records(detector, shards, Cluster(["x"], tmp_path)))
        assert [annotation for annotation, _ in found] == [annotation for annotation, _ in local]
        assert pickle.dumps([in_image for _, in_image in found]) == pickle.dumps(
            [in_image for _, in_image in local]
        )
        assert len(loaded) == count
    assert max(map(len, pickled)) < 1000


def test_other_detections_are_not_used_after_a_training(data, tmp_path, monkeypatch, without_beam):
    model = tmp_path / "model.tflite"
    shutil.copy(SHIPPED_MODEL, model)

    def interrupt(pipeline, work, chunks):
        raise KeyboardInterrupt

    monkeypatch.setattr(beam, "_run", interrupt)
    for folders, changed in ((1, None), (1, None), (2, model), (3, data.split("val").shards[0])):
        if changed is not None:
            status = changed.stat()
            os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        detector = Detector.load(model)
        with pytest.raises(KeyboardInterrupt):
            list(predict_records(detector, data.split("val").shards, Cluster(["x"], tmp_path)))
        assert len(list(tmp_path.glob("beam.*.partial"))) == folders


def test_files_of_a_model_are_those_that_are_complete(tmp_path):
    for name in ("a.tflite", "saved_model/b", "report.partial/c", "beam.1.partial/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert DetectorSource(tmp_path / "a.tflite").files() == [tmp_path / "a.tflite"]
    assert DetectorSource(tmp_path).files() == [tmp_path / "a.tflite", tmp_path / "saved_model/b"]


def test_image_that_only_workers_cannot_read_is_reported(
    sample_voc, tmp_path, monkeypatch, without_beam
):
    image = sorted((sample_voc / "images").iterdir())[0]
    monkeypatch.setattr(on_cluster, "_detect_in_image", nothing)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["predict", str(image), *LOCAL])
    assert result.exit_code == 2
    assert f"tfod: {image}: cannot be read by a worker. Give all workers access" in result.stderr
    assert not list(tmp_path.iterdir())


def nothing(files, threshold, image) -> None:
    """A worker that cannot read an image."""


@pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is not None, reason="apache-beam is installed"
)
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--model", str(SHIPPED_MODEL), "--data", "data"],
        ["predict", str(Path(__file__))],
        ["inspect", "{data}", "--model", str(SHIPPED_MODEL)],
    ],
    ids=lambda command: command[0],
)
def test_missing_beam_is_one_line(command, data):
    command = [argument.format(data=data.folder) for argument in command]
    result = CliRunner().invoke(main, [*command, "--runner", "FlinkRunner"])
    assert result.exit_code == 2
    assert result.stderr == (
        "tfod: --runner: needs apache-beam. "
        "Install it: pip install --only-binary apache-beam apache-beam.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "{video}", *LOCAL], "{video}: is a video or a camera; --runner distributes"),
        (["predict", "0", *LOCAL], "camera_0: is a video or a camera; --runner distributes"),
        (["predict", "{video}", "--runner-option", "a=b"], "--runner-option: needs --runner. Give"),
        (["inspect", "{data}", *LOCAL], "--runner: runs a model, and there is none. Give --model"),
        (
            ["evaluate", "--detections", "a.json", "--data", "{data}", *LOCAL],
            "--runner: cannot be combined with --detections. Remove it",
        ),
    ],
)
def test_options_that_cannot_be_combined(arguments, message, data, tmp_path, without_beam):
    video = tmp_path / "street.mp4"
    write_video(video, [gray(9)])
    names = {"video": video, "data": data.folder}
    result = CliRunner().invoke(main, [argument.format(**names) for argument in arguments])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"tfod: {message.format(**names)}")
