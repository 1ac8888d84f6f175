"""Checkpoints of the model zoo: which there are, and fetching one from a server like its own."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.file_server import Server
from tfod import download
from tfod.cli import main
from tfod.errors import UserError
from tfod.model import zoo
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


def packed(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
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
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    return tmp_path / "cache" / "tfod" / "zoo"


@pytest.fixture
def server(monkeypatch):
    with Server(packed(FILES)) as server:
        monkeypatch.setattr(zoo, "SERVER", server.url.removesuffix("/file.bin"))
        yield server
        server.shutdown()


@pytest.fixture
def archive():
    return zoo.find_archive(NAME)


def refused(archive) -> str:
    """What fetching says, which leaves nothing that a later run could take for a checkpoint."""
    with pytest.raises(UserError) as caught:
        zoo.fetch_checkpoint(archive)
    assert not archive.folder.exists() and not archive.packed.exists()
    return str(caught.value)


def test_every_model_of_the_zoo_is_known(shared):
    with (shared / "zoo" / "tf2_detection_zoo.csv").open() as file:
        rows = {row["archive"]: row for row in csv.DictReader(file)}
    known = {each.name: each for each in zoo.archives()}
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
def test_a_template_starts_from_the_model_of_its_kind(template, archive):
    assert zoo.archive_for(template).name == archive


def test_every_template_but_the_demo_has_one():
    without = []
    for name in template_names():
        try:
            zoo.archive_for(name)
        except UserError as error:
            assert "--init scratch" in str(error)
            without.append(name)
    assert without == ["ssd_mobilenet_v2_fpnlite_w050_224x224"]


def test_it_is_fetched_once_and_only_what_training_wants(server, archive, cache):
    prefix = zoo.fetch_checkpoint(archive)
    assert prefix == cache / NAME / "ckpt-0"
    for name in ("ckpt-0.index", "ckpt-0.data-00000-of-00001"):
        assert (cache / NAME / name).read_bytes() == FILES[f"{NAME}/checkpoint/{name}"]
    names = {path.name for path in cache.rglob("*")}
    data = "ckpt-0.data-00000-of-00001"
    assert names == {NAME, "archive.json", "ckpt-0.index", data, "pipeline.config"}
    assert zoo.fetch_checkpoint(archive) == prefix
    assert len(server.ranges) == 1


def test_a_file_put_there_by_hand_needs_no_server(archive, cache):
    cache.mkdir(parents=True)
    archive.packed.write_bytes(packed(FILES))
    assert zoo.fetch_checkpoint(archive).name == "ckpt-0"


def test_a_cache_that_was_damaged_is_mended(server, archive, cache):
    prefix = zoo.fetch_checkpoint(archive)
    (prefix.parent / "ckpt-0.index").write_bytes(b"inxed")
    assert zoo.fetch_checkpoint(archive) == prefix
    assert (prefix.parent / "ckpt-0.index").read_bytes() == b"index"
    assert len(server.ranges) == 2


def test_what_is_fetched_later_has_to_be_the_same(server, archive):
    prefix = zoo.fetch_checkpoint(archive)
    prefix.with_name("ckpt-0.index").unlink()
    server.content = packed({**FILES, f"{NAME}/checkpoint/ckpt-0.index": b"other"})
    with pytest.raises(UserError, match=r"hash differs.*remove"):
        zoo.fetch_checkpoint(archive)
    assert not archive.packed.exists()
    archive.packed.write_bytes(server.content)  # no more than by hand
    with pytest.raises(UserError, match="hash differs"):
        zoo.fetch_checkpoint(archive)
    for path in sorted(archive.folder.iterdir()):
        path.unlink()
    archive.folder.rmdir()
    assert zoo.fetch_checkpoint(archive) == prefix


@pytest.mark.parametrize(
    "ills", [["drops"], ["stalls"], ["500", "503"], ["drops", "500", "stalls"], ["says no length"]]
)
def test_a_poor_connection_takes_longer(ills, server, archive):
    server.ills = list(ills)
    assert zoo.fetch_checkpoint(archive).name == "ckpt-0"


@pytest.mark.parametrize(
    ("ill", "line"),
    [
        ("404", "the server answers 404"),
        ("500", "the server answers 500"),
        ("wrong", "is not a whole .tar.gz"),
        ("says it is longer", "cannot be fetched"),
    ],
)
def test_a_bad_answer_is_one_line(ill, line, server, archive):
    server.ills = [ill] * 20
    said = refused(archive)
    assert line in said and "\n" not in said
    server.ills = []
    assert zoo.fetch_checkpoint(archive).name == "ckpt-0"


def test_a_server_that_says_less_than_it_sends(server, archive):
    server.content = packed(FILES)[:-200]
    assert "is not a whole .tar.gz" in refused(archive)


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (member(f"{NAME}/../../../escaped", tarfile.REGTYPE), "outside its folder"),
        (member("/tmp/escaped", tarfile.REGTYPE), "outside its folder"),
        (member(f"{NAME}/checkpoint/ckpt-1.index", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (member(f"{NAME}/checkpoint/ckpt-1.index", tarfile.LNKTYPE, "../../x"), "a link"),
        (member(f"{NAME}/checkpoint/pipe", tarfile.FIFOTYPE), "a link or device"),
        (member(f"{NAME}/checkpoint/ckpt-1.index", tarfile.REGTYPE), "holds no checkpoint"),
        (member(f"{NAME}/twice/ckpt-0.index", tarfile.REGTYPE), "is not a whole .tar.gz"),
    ],
)
def test_an_archive_that_is_up_to_something_is_not_unpacked(more, line, server, archive, tmp_path):
    server.content = packed(FILES, more)
    assert line in refused(archive)
    assert not [*tmp_path.rglob("escaped")] and not Path("/tmp/escaped").exists()


@pytest.mark.parametrize(("limit", "value"), [("MOST_BYTES", 20_000), ("MOST_MEMBERS", 3)])
def test_an_archive_that_would_fill_the_disk_is_not_unpacked(
    limit, value, server, archive, monkeypatch
):
    monkeypatch.setattr(zoo, limit, value)
    assert "unpacks to more than any model of the zoo" in refused(archive)


def test_an_archive_without_a_checkpoint(server, archive):
    server.content = packed({f"{NAME}/saved_model/ckpt-0.index": b"", "pipeline.config": b""})
    assert "holds no checkpoint" in refused(archive)


def test_zoo_lists_what_there_is(server, archive):
    zoo.fetch_checkpoint(archive)
    said = CliRunner().invoke(main, ["zoo"], env={"COLUMNS": "200"}, catch_exceptions=False).stdout
    assert sum("coco17" in line for line in said.splitlines()) == 41  # and ExtremeNet
    (line,) = (line for line in said.splitlines() if NAME in line)
    assert "22.2" in line and "yes" in line


def test_without_a_network_train_says_how_to_do_without(data, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "SERVER", "http://127.0.0.1:9")  # where nobody listens
    given = ["--data", data.folder, "--output", tmp_path / "run"]
    template = ["--pipeline", "ssd_mobilenet_v2_fpnlite_320x320"]
    said = CliRunner().invoke(main, [str(each) for each in ("train", *given, *template)])
    assert said.exit_code == 2 and not (tmp_path / "run").exists()
    (line,) = (line for line in said.stderr.splitlines() if line.startswith("tfod: "))
    assert f"{NAME}.tar.gz: cannot be fetched: no connection to the server" in line
    for remedy in (
        f"put it at {cache / NAME}.tar.gz",
        "FOLDER/checkpoint/ckpt-0",
        "--init scratch",
    ):
        assert remedy in line
