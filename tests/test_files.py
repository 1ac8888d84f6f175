"""Tests `files`: outputs are complete or absent, and errors name the file that caused them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from helpers.files import contents
from tfod.errors import UserError
from tfod.files import replacing_file, replacing_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one file, the old output."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "old").touch()
    return folder


def test_folder_is_replaced_although_a_killed_run_left_files(folder, tmp_path):
    for name in ("data.partial", "data.replaced.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "leftover").touch()
    with replacing_folder(folder) as partial:
        (partial / "new").touch()
    assert contents(tmp_path) == {"data/new": b""}


def test_output_of_a_run_killed_while_renaming_is_kept_until_there_is_a_new_one(folder, tmp_path):
    folder.rename(tmp_path / "data.replaced.partial")
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder):
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"data.replaced.partial/old": b""}
    with replacing_folder(folder) as partial:
        (partial / "new").touch()
    assert contents(tmp_path) == {"data/new": b""}


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
    with pytest.raises(UserError) as caught, replacing_folder(folder) as partial:
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
