"""Tests `files`: outputs are complete or absent, and nothing that tfod did not make is deleted."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.files import contents
from tfod.errors import UserError
from tfod.files import adding_to_folder, replacing_file, replacing_folder
from tfod.folder_kind import FolderKind

MINE = FolderKind("mine", ("old",), ("new*",))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one file, the old output."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "old").touch()
    return folder


def replace(folder: Path, **options):
    """Writes an output over one that contains the file `old`."""
    return replacing_folder(folder, overwrite=True, check_old=MINE.check, **options)


def only_error(folder: Path, **options) -> str:
    """Returns the message of an output that is refused before anything is written."""
    with pytest.raises(UserError) as caught, replace(folder, **options):
        raise AssertionError("not refused")
    return str(caught.value)


def test_folder_has_its_name_while_it_is_written_and_then_replaces_the_old_one(folder, tmp_path):
    with replace(folder) as partial:
        (partial / "new").touch()
        assert partial.name == "data"
        assert (folder / "old").exists()
    assert contents(tmp_path) == {"data/new": b""}


def test_only_an_output_of_the_same_kind_is_replaced(folder, tmp_path):
    for check, remedy in ((None, "Choose another --output"), (MINE.check, ".* or add --overwrite")):
        with pytest.raises(UserError, match=rf"data: already exists\. {remedy}\.$"):
            replacing_folder(folder, check_old=check).__enter__()
    (folder / "old").rename(folder / "thesis.txt")
    assert only_error(folder) == (
        f"{folder}: exists and is not mine, so it is not overwritten. Choose another --output."
    )
    assert contents(tmp_path) == {"data/thesis.txt": b""}


def test_a_file_of_the_user_in_an_output_is_never_deleted(folder, tmp_path):
    (folder / "new.partial").touch()  # of a process that was killed
    (folder / ".DS_Store").touch()
    (folder / "thesis.txt").touch()
    assert only_error(folder) == (
        f"{folder}: contains thesis.txt, which is not part of mine, so it is not overwritten. "
        "Move thesis.txt, or choose another --output."
    )
    assert (folder / "thesis.txt").exists()
    (folder / "thesis.txt").unlink()
    with replace(folder) as partial:
        (partial / "new").touch()
    assert contents(tmp_path) == {"data/new": b""}


@pytest.mark.parametrize("name", ["data.partial", "data.replaced.partial", "data.replaced"])
def test_folders_of_the_user_are_never_deleted(folder, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "photo.jpg").touch()
    if name == "data.partial":
        assert only_error(folder) == (
            f"{tmp_path}/{name}: exists, and tfod needs this name. "
            "Rename it, or choose another --output."
        )
    else:
        with replace(folder):
            pass
    assert contents(tmp_path / name) == {"photo.jpg": b""}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_with_the_temporary_name_is_kept(folder, tmp_path, kind):
    partial = tmp_path / "data.partial"
    partial.touch() if kind == "file" else partial.symlink_to(tmp_path)
    assert "exists, and tfod needs this name" in only_error(folder)
    assert partial.is_file() or partial.is_symlink()


def test_inputs_are_not_replaced(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder / "old")
    for source in (folder, folder / "old", tmp_path / "link"):
        assert f"data: would replace {source}. Choose another" in only_error(
            folder, inputs=[source]
        )


KILLED = """
import os, signal, sys
from pathlib import Path
from tfod.files import replacing_folder

folder, moment = Path(sys.argv[1]), int(sys.argv[2])
rename, renamed = Path.rename, []

def kill_at(number):
    if number == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def rename_or_die(path, target):
    rename(path, target)
    renamed.append(path)
    kill_at(len(renamed))

Path.rename = rename_or_die
with replacing_folder(folder, True, check_old=lambda folder, option: None) as partial:
    (partial / "new").touch()
    kill_at(0)
"""


@pytest.mark.parametrize(
    ("moment", "kept"), [(0, "old"), (1, "old"), (2, "new")], ids=["block", "between", "end"]
)
def test_after_kill_the_next_call_finds_the_old_folder_or_the_new_one(
    folder, tmp_path, moment, kept
):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(folder), str(moment)]
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "data.partial").is_dir()
    with pytest.raises(UserError, match="already exists"):
        replacing_folder(folder).__enter__()
    assert contents(folder) == {kept: b""}
    with replacing_folder(folder, True, check_old=lambda folder, option: None) as partial:
        (partial / "newest").touch()
    assert contents(tmp_path) == {"data/newest": b""}


def test_ctrl_c_keeps_the_old_folder_and_leaves_no_new_one(folder, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt), replace(folder) as partial:
        (partial / "new").touch()
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"data/old": b""}
    rename = Path.rename

    def interrupt(path, target):
        rename(path, target)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replace(folder):
        monkeypatch.setattr(Path, "rename", interrupt)
    assert contents(tmp_path) == {"data/old": b""}
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "runs" / "a"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_two_processes_do_not_write_the_same_folder(folder, tmp_path):
    code = f"""if True:
        import sys
        from pathlib import Path
        from tfod.files import replacing_folder
        with replacing_folder(Path({str(tmp_path / "out")!r})) as partial:
            (partial / "first").touch()
            print("writing", flush=True)
            sys.stdin.read()
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout.readline() == b"writing\n"
    with pytest.raises(UserError) as caught, replacing_folder(tmp_path / "out"):
        pass
    assert str(caught.value) == (
        f"{tmp_path}/out: is being written by another tfod. "
        "Wait until it has ended, or choose another --output."
    )
    first.kill()
    first.communicate()
    with replacing_folder(tmp_path / "out") as partial:
        (partial / "second").touch()
    assert contents(tmp_path) == {"data/old": b"", "out/second": b""}


def without_locks(*arguments):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_file_system_without_locks_is_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with replace(folder) as partial:
        (partial / "new").touch()
    assert contents(tmp_path) == {"data/new": b""}


def test_folder_that_appears_while_another_is_written_is_kept(tmp_path):
    with pytest.raises(UserError, match="out: already exists"), replacing_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").touch()
    assert contents(tmp_path) == {"out/other": b""}


def test_link_to_an_output_is_kept_and_its_folder_replaced(folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    folder.rename(disk / "data")
    (disk / "other").touch()
    folder.symlink_to(disk / "data")
    with replace(folder) as partial:
        (partial / "new").touch()
    assert folder.readlink() == disk / "data"
    assert contents(disk) == {"data/new": b"", "other": b""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "disk"]


def broken_link(tmp_path: Path) -> Path:
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    return tmp_path / "link"


def loop(tmp_path: Path) -> Path:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path / "loop"


def file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file"


CURRENT = "is the current folder, or contains it, so it cannot be replaced. Give a new folder."


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (lambda tmp_path: Path(), f".: {CURRENT}"),
        (lambda tmp_path: Path(".."), f"..: {CURRENT}"),
        (lambda tmp_path: Path("/"), f"/: {CURRENT}"),
        (lambda tmp_path: tmp_path / "here", f"{{tmp_path}}/here: {CURRENT}"),
        (
            lambda tmp_path: Path("/dev"),
            "/dev: is a mount point, which cannot be replaced. "
            "Give a new folder in it, such as /dev/NAME.",
        ),
        (broken_link, "{tmp_path}/link: is a broken link. Choose another --output."),
        (loop, "{tmp_path}/loop: is a broken link. Choose another --output."),
        (file, "{tmp_path}/file: is a file. Choose another --output."),
        (
            lambda tmp_path: file(tmp_path) / "data",
            "{tmp_path}/file/data: cannot be written: Not a directory. "
            "Free disk space, or choose another place.",
        ),
        (
            lambda tmp_path: tmp_path / ("x" * 300),
            f"{{tmp_path}}/{'x' * 300}: cannot be written: File name too long. "
            "Free disk space, or choose another place.",
        ),
    ],
)
def test_place_that_cannot_be_an_output_is_one_line(output, line, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = output(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert only_error(folder) == line.format(tmp_path=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


FULL = (errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_disk(partial: Path) -> None:
    raise OSError(*FULL)


def fill_disk_by_a_copy(partial: Path) -> None:
    raise OSError(*FULL, "label_map.pbtxt", None, str(partial / "label_map.pbtxt"))


def fail_to_encode(partial: Path) -> None:
    raise OSError("encoder error -2")  # Pillow's errors have no number


def write_into_missing_folder(partial: Path) -> None:
    (partial / "images/a.jpg").write_bytes(b"")


def remove(partial: Path) -> None:
    shutil.rmtree(partial)


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (fill_disk, "No space left on device"),
        (fill_disk_by_a_copy, "No space left on device"),
        (fail_to_encode, "encoder error -2"),
        (write_into_missing_folder, "No such file or directory"),
        (remove, "No such file or directory"),
    ],
)
def test_write_errors_name_the_folder_and_keep_the_old_one(folder, tmp_path, fail, reason):
    with pytest.raises(UserError) as caught, replace(folder) as partial:
        (partial / "new").touch()
        fail(partial)
    assert str(caught.value) == (
        f"{folder}: cannot be written: {reason}. Free disk space, or choose another place."
    )
    assert contents(tmp_path) == {"data/old": b""}


@pytest.mark.parametrize("replacing", [replacing_folder, replacing_file])
def test_other_errors_are_not_reported_as_write_errors(tmp_path, replacing):
    missing = tmp_path / "missing.jpg"
    with pytest.raises(UserError) as caught, replacing(tmp_path / "new"):
        missing.read_bytes()
    assert str(caught.value) == (
        f"{missing}: cannot be opened: No such file or directory. "
        "Check the path and its permissions."
    )
    fault = UserError("a.jpg", "is damaged", "Remove it")
    with pytest.raises(UserError) as caught, replacing(tmp_path / "new"):
        raise fault
    assert caught.value is fault
    # `tfod predict … | head` closes the standard output. click ends the process without a message.
    with pytest.raises(BrokenPipeError), replacing(tmp_path / "new"):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    assert contents(tmp_path) == {}


def test_file_is_replaced_when_it_is_complete_and_nothing_else_is_touched(tmp_path):
    path, similar = tmp_path / "detections.csv", tmp_path / "detections.csv.partial"
    path.write_text("old")
    similar.write_text("of the user")
    with pytest.raises(KeyboardInterrupt), replacing_file(path) as partial:
        partial.write_text("new")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {path.name: b"old", similar.name: b"of the user"}
    with replacing_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old" and partial.name == path.name
    assert contents(tmp_path) == {path.name: b"new", similar.name: b"of the user"}


def test_only_one_process_writes_a_file_that_takes_long(tmp_path):
    path = tmp_path / "detections.csv"
    with replacing_file(path, "--csv") as partial:
        partial.write_text("first")
        with pytest.raises(UserError) as caught:
            replacing_file(path, "--csv").__enter__()
    assert str(caught.value) == (
        f"{path}: is being written by another tfod. "
        "Wait until it has ended, or choose another --csv."
    )
    assert contents(tmp_path) == {path.name: b"first"}
    (tmp_path / f"{path.name}.partial").mkdir()
    (tmp_path / f"{path.name}.partial" / "photo.jpg").touch()
    with pytest.raises(UserError, match="exists, and tfod needs this name"):
        replacing_file(path, "--csv").__enter__()
    assert contents(tmp_path) == {path.name: b"first", f"{path.name}.partial/photo.jpg": b""}


WRITE_SMALL_FILE = """
import sys
from pathlib import Path
from tfod.files import replacing_file
with replacing_file(Path(sys.argv[1])) as partial:
    partial.write_text(sys.argv[2])
    print("writing", flush=True)
    input()
"""


def start_writer(path: Path, text: str) -> subprocess.Popen:
    """Starts a process that writes a small file, and completes it when it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_SMALL_FILE, str(path), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_killed_writers_of_small_files_left_is_deleted_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.json"
    killed = [start_writer(file, "killed") for file in (path, tmp_path / "other[1].json")]
    running = start_writer(path, "running")
    for process in killed:
        process.kill()
        process.communicate()
    (tmp_path / "metrics.json.abcdefgh.partial").mkdir()
    (tmp_path / "metrics.json.abcdefgh.partial" / path.name).write_text("of the user")
    mine = {"metrics.json.abcdefgh.partial/metrics.json": b"of the user"}
    assert len(list(tmp_path.glob("*.partial"))) == 4

    with replacing_file(path) as partial:
        partial.write_text("first")
        assert len(list(tmp_path.glob("*.partial"))) == 3  # this one, the running one, the user's
    assert path.read_text() == "first"
    running.communicate("\n")
    assert running.returncode == 0
    assert contents(tmp_path) == {path.name: b"running", **mine}


def test_without_locks_no_temporary_folder_of_a_small_file_is_deleted(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    running = start_writer(path, "running")
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with replacing_file(path) as partial:
        partial.write_text("first")
    running.communicate("\n")
    assert running.returncode == 0
    assert contents(tmp_path) == {path.name: b"running"}


def test_file_that_cannot_be_written_is_one_line_before_the_work(tmp_path):
    for path, line in (
        (tmp_path, "is a folder. Give a file name."),
        (tmp_path / "no" / "a.csv", "cannot be written: No such file or directory. Free disk"),
    ):
        with pytest.raises(UserError) as caught:
            replacing_file(path).__enter__()
        assert str(caught.value).startswith(f"{path}: {line}")


def test_added_files_do_not_replace_others(folder):
    with adding_to_folder(folder) as new:
        (new / "a").write_text("first")
    with pytest.raises(UserError, match="b: already exists"), adding_to_folder(folder) as new:
        for name in ("a2", "b", "c"):
            (new / name).write_text("second")
        (folder / "b").write_text("of another program")
    with pytest.raises(UserError, match="a: already exists"), adding_to_folder(folder) as new:
        (new / "a").write_text("second")
    assert contents(folder) == {"old": b"", "a": b"first", "b": b"of another program"}


def test_two_processes_do_not_add_to_the_same_folder(folder):
    with adding_to_folder(folder) as new:
        (new / "a").touch()
        with (
            pytest.raises(UserError, match="is being written by another tfod"),
            adding_to_folder(folder),
        ):
            pass
    assert set(contents(folder)) == {"old", "a"}
