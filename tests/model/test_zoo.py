"""Tests `model.zoo`: the list of models, and downloads from a local server."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from PIL import Image

from helpers.file_server import Server
from tfod import download
from tfod.cli import main
from tfod.commands.train import _configuration, _initial_checkpoint
from tfod.errors import UserError
from tfod.model import zoo
from tfod.model.pipeline import read_pipeline
from tfod.model.templates import template_names

NAME = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
FILES = {
    f"{NAME}/": b"",
    f"{NAME}/checkpoint/": b"",
    f"{NAME}/checkpoint/checkpoint": b'model_checkpoint_path: "ckpt-0"',
    f"{NAME}/checkpoint/ckpt-0.index": b"index",
    f"{NAME}/checkpoint/ckpt-0.data-00000-of-00001": bytes(range(256)) * 100,
    f"{NAME}/pipeline.config": b"model { }",
    f"{NAME}/saved_model/variables/variables.index": b"not this one",
}


def make_archive(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """Returns a `.tar.gz` with these files, and further members without content."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.size = len(data)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(member, io.BytesIO(data))
        for member in more:
            archive.addfile(member)
    return content.getvalue()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    return tmp_path / "cache" / "tfod" / "zoo"


@pytest.fixture
def server(monkeypatch):
    with Server(make_archive(FILES)) as server:
        monkeypatch.setattr(zoo, "SERVER", server.url.removesuffix("/file.bin"))
        yield server
        server.shutdown()


@pytest.fixture
def archive():
    return zoo.find_archive(NAME)


def error_of_fetching(archive) -> str:
    """Returns the error message, and checks that nothing is left in the cache."""
    with pytest.raises(UserError) as caught:
        zoo.fetch_checkpoint(archive)
    assert not archive.folder.exists() and not archive.file.exists()
    return str(caught.value)


def test_all_models_of_the_zoo_are_listed(shared):
    with (shared / "zoo" / "tf2_detection_zoo.csv").open() as file:
        rows = {row["archive"]: row for row in csv.DictReader(file)}
    known = {archive.name: archive for archive in zoo.archives()}
    assert known.keys() == rows.keys() and len(known) == 42
    for name, row in rows.items():
        assert known[name].url == (
            "http://download.tensorflow.org/models/object_detection/tf2/"
            f"{row['date']}/{name}.tar.gz"
        )
        assert str(known[name].speed_ms or "") == row["speed_ms"]
        assert (known[name].coco_map or None) == (float(row["coco_map"] or 0) or None)


@pytest.mark.parametrize(
    ("template", "archive"),
    [
        (NAME.partition("_coco17")[0], NAME),
        ("ssd_mobilenet_v2_fpnlite_448x448_signs", NAME),
        ("ssd_mobilenet_v2_fpnlite_512x512_cats", "ssd_mobilenet_v2_fpnlite_640x640_coco17_tpu-8"),
        ("ssd_mobilenet_v2_320x320", "ssd_mobilenet_v2_320x320_coco17_tpu-8"),
        ("faster_rcnn_resnet50_v1_640x640", "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8"),
    ],
)
def test_a_template_starts_from_the_model_of_the_same_kind(template, archive):
    assert zoo.archive_for(template).name == archive


def test_a_template_in_the_current_folder_starts_from_the_model_of_the_folder(
    data, tmp_path, monkeypatch
):
    folder = tmp_path / "ssd_mobilenet_v2_320x320"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(zoo, "fetch_checkpoint", lambda archive, progress: Path(archive.name))
    Path("pipeline.config").touch()
    with _configuration("pipeline.config", data, None, None, "phone", None) as start:
        checkpoint = _initial_checkpoint("zoo", start.template, None)
    assert checkpoint == Path("ssd_mobilenet_v2_320x320_coco17_tpu-8")


def test_all_templates_but_two_have_a_checkpoint():
    without_checkpoint = []
    for name in template_names():
        try:
            zoo.archive_for(name)
        except UserError as error:
            assert "--init scratch" in str(error)
            without_checkpoint.append(name)
    assert without_checkpoint == [
        "faster_rcnn_resnet50_fpn_640x640",
        "ssd_mobilenet_v2_fpnlite_w050_224x224",
    ]


def test_the_simple_cnn_starts_from_a_detector_with_its_backbone():
    assert zoo.archive_for("simple_cnn").name == "ssd_mobilenet_v2_320x320_coco17_tpu-8"


def test_an_archive_is_downloaded_once_and_only_needed_files_are_kept(server, archive, cache):
    prefix = zoo.fetch_checkpoint(archive)
    assert prefix == cache / NAME / "ckpt-0"
    for name in ("ckpt-0.index", "ckpt-0.data-00000-of-00001"):
        assert (cache / NAME / name).read_bytes() == FILES[f"{NAME}/checkpoint/{name}"]
    names = {path.name for path in cache.rglob("*")}
    data = "ckpt-0.data-00000-of-00001"
    assert names == {NAME, "archive.json", "ckpt-0.index", data, "pipeline.config"}
    assert zoo.fetch_checkpoint(archive) == prefix
    assert len(server.ranges) == 1


def test_an_archive_copied_into_the_cache_needs_no_server(archive, cache):
    cache.mkdir(parents=True)
    archive.file.write_bytes(make_archive(FILES))
    assert zoo.fetch_checkpoint(archive).name == "ckpt-0"


def test_a_damaged_cache_is_downloaded_again(server, archive, cache):
    prefix = zoo.fetch_checkpoint(archive)
    (prefix.parent / "ckpt-0.index").write_bytes(b"inxed")
    assert zoo.fetch_checkpoint(archive) == prefix
    assert (prefix.parent / "ckpt-0.index").read_bytes() == b"index"
    assert len(server.ranges) == 2


def test_a_later_download_must_have_the_same_hash(server, archive):
    prefix = zoo.fetch_checkpoint(archive)
    prefix.with_name("ckpt-0.index").unlink()
    server.content = make_archive({**FILES, f"{NAME}/checkpoint/ckpt-0.index": b"other"})
    with pytest.raises(UserError, match=r"hash differs.*remove"):
        zoo.fetch_checkpoint(archive)
    assert not archive.file.exists()
    archive.file.write_bytes(server.content)  # copied into the cache instead
    with pytest.raises(UserError, match="hash differs"):
        zoo.fetch_checkpoint(archive)
    for path in sorted(archive.folder.iterdir()):
        path.unlink()
    archive.folder.rmdir()
    assert zoo.fetch_checkpoint(archive) == prefix


@pytest.mark.parametrize(
    "failures", [["drops"], ["stalls"], ["500", "503"], ["drops", "500", "stalls"], ["no length"]]
)
def test_a_download_survives_connection_faults(failures, server, archive):
    server.failures = list(failures)
    assert zoo.fetch_checkpoint(archive).name == "ckpt-0"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("404", "the server returned 404"),
        ("500", "the server returned 500"),
        ("wrong", "is not a complete .tar.gz"),
        ("length too large", "cannot be downloaded"),
    ],
)
def test_a_failed_download_is_reported_in_one_line(failure, message, server, archive):
    server.failures = [failure] * 20
    error = error_of_fetching(archive)
    assert message in error and "\n" not in error
    server.failures = []
    assert zoo.fetch_checkpoint(archive).name == "ckpt-0"


def test_a_truncated_archive_is_reported(server, archive):
    server.content = make_archive(FILES)[:-200]
    assert "is not a complete .tar.gz" in error_of_fetching(archive)


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("extra_member", "message"),
    [
        (member(f"{NAME}/../../../escaped", tarfile.REGTYPE), "outside its folder"),
        (member("/tmp/escaped", tarfile.REGTYPE), "outside its folder"),
        (member(f"{NAME}/checkpoint/ckpt-1.index", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (member(f"{NAME}/checkpoint/ckpt-1.index", tarfile.LNKTYPE, "../../x"), "a link"),
        (member(f"{NAME}/checkpoint/pipe", tarfile.FIFOTYPE), "a link or device"),
        (
            member(f"{NAME}/checkpoint/ckpt-1.index", tarfile.REGTYPE),
            "does not contain exactly one checkpoint",
        ),
        (member(f"{NAME}/twice/ckpt-0.index", tarfile.REGTYPE), "is not a complete .tar.gz"),
    ],
)
def test_a_malicious_archive_is_not_unpacked(extra_member, message, server, archive, tmp_path):
    server.content = make_archive(FILES, extra_member)
    assert message in error_of_fetching(archive)
    assert not [*tmp_path.rglob("escaped")] and not Path("/tmp/escaped").exists()


@pytest.mark.parametrize(("limit", "value"), [("MAX_UNPACKED_BYTES", 20_000), ("MAX_MEMBERS", 3)])
def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    limit, value, server, archive, monkeypatch
):
    monkeypatch.setattr(zoo, limit, value)
    assert "unpacks to more than any model of the zoo" in error_of_fetching(archive)


def test_an_archive_without_a_checkpoint_is_reported(server, archive):
    server.content = make_archive({f"{NAME}/saved_model/ckpt-0.index": b"", "pipeline.config": b""})
    assert "does not contain exactly one checkpoint" in error_of_fetching(archive)


@pytest.mark.long
def test_a_model_of_the_zoo_detects_without_training(run, images, cache, tmp_path, monkeypatch):
    """With the archive of a small model, whose four classes get the first names of COCO."""
    pipeline = read_pipeline(run / "pipeline.config")
    for reader in (pipeline.train_input_reader, pipeline.eval_input_reader[0]):
        reader.tf_record_input_reader.input_path[:] = ["PATH_TO_BE_CONFIGURED"]
    files = {f"{NAME}/pipeline.config": text_format.MessageToString(pipeline).encode()}
    for file in run.glob("ckpt-2.*"):
        files[f"{NAME}/checkpoint/{file.name.replace('ckpt-2', 'ckpt-0')}"] = file.read_bytes()
    cache.mkdir(parents=True)
    (cache / f"{NAME}.tar.gz").write_bytes(make_archive(files))  # placed by hand
    monkeypatch.setattr(zoo, "SERVER", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(images[0]).save("street.png")
    predict = ["predict", "--threshold", "0", "street.png", "--model"]
    result = CliRunner().invoke(main, [*predict, NAME])
    assert result.exit_code == 0, result.output
    names = {detection.rpartition(" ")[0] for detection in result.stdout.split(": ")[1].split(", ")}
    assert names <= {"person", "bicycle", "car", "motorcycle"}
    export = ["export", "--run", NAME, "--output", "coco", "--tflite", "float32"]
    result = CliRunner().invoke(main, export)
    assert result.exit_code == 0, result.output
    lines = Path("coco/labels.txt").read_text().splitlines()
    assert lines[:2] == ["person", "bicycle"] and lines[-1] == "toothbrush"
    assert len(lines) == 90 and lines.count("???") == 10
    result = CliRunner().invoke(main, [*predict, "coco/model.tflite"])
    assert result.exit_code == 0, result.output
    assert not any(path.name.startswith("ssd") for path in tmp_path.iterdir())
    result = CliRunner().invoke(main, [*predict, NAME.replace("fpnlite_", "")])
    assert result.exit_code == 2
    assert "cannot be downloaded" in result.stderr and "--init" not in result.stderr


def test_the_zoo_command_lists_all_models(server, archive):
    zoo.fetch_checkpoint(archive)
    result = CliRunner().invoke(main, ["zoo"], env={"COLUMNS": "200"}, catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert sum("coco17" in line for line in lines) == 41  # all but ExtremeNet
    (line,) = (line for line in lines if NAME in line)
    assert "22.2" in line and "yes" in line


def test_training_without_a_network_reports_the_alternatives(data, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "SERVER", "http://127.0.0.1:9")  # no server listens there
    command = ["train", "--data", data.folder, "--output", tmp_path / "run"]
    command += ["--pipeline", "ssd_mobilenet_v2_fpnlite_320x320"]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 2 and not (tmp_path / "run").exists()
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("tfod: "))
    assert f"{NAME}.tar.gz: cannot be downloaded: no connection to the server" in line
    for remedy in (
        f"copy it to {cache / NAME}.tar.gz",
        "FOLDER/checkpoint/ckpt-0",
        "--init scratch",
    ):
        assert remedy in line
