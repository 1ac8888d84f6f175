"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfod.errors import UserError


def refuse_existing(folder: Path, overwrite: bool = False) -> None:
    """Says so where `folder` is there already and may not be replaced.

    Raises:
      UserError: `folder` exists, unless it is an empty folder or `overwrite` is set.
    """
    if folder.is_dir() and not overwrite and any(folder.iterdir()):
        raise UserError(folder, "exists already", "Choose another --output, or give --overwrite")
    if folder.exists() and not folder.is_dir():
        raise UserError(folder, "is a file", "Choose another --output")


def read_bytes(path: Path) -> bytes:
    """As `Path.read_bytes`, without the buffer, which for small files is a third of the time."""
    with path.open("rb", buffering=0) as file:
        return file.read()


def load_json(path: Path, remedy: str):
    """What a JSON file holds.

    Raises:
      UserError: it cannot be read, or is none; with that remedy.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"is no JSON: {error}", remedy) from error


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder `NAME.partial` to write into, which becomes `folder` if the block succeeds.

    A folder that was there is kept until then and replaced whole. On an exception, Ctrl-C too,
    nothing new is left.

    Raises:
      UserError: the place cannot be written.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    replaced = folder.with_name(f"{folder.name}.replaced.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            folder, f"cannot be written: {error.strerror}", "Choose a writable --output"
        ) from error
    try:
        yield partial
        if folder.exists():
            # rename() cannot replace a folder that holds files, so the old one steps aside.
            folder.replace(replaced)
        try:
            partial.replace(folder)
        except OSError:
            if replaced.exists():
                replaced.replace(folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A path `NAME.partial` to write to, which is renamed to `path` if the block succeeds.

    A file at `path` is kept until then. On an exception, Ctrl-C included, nothing new is left.

    Raises:
      UserError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        remedy = "Free disk space, or choose another place"
        what = f"cannot be written: {error.strerror or error}"
        raise UserError(path, what, remedy) from error
    finally:
        partial.unlink(missing_ok=True)
