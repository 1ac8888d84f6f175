"""Reads files, and writes files and folders that appear only when they are complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfod.errors import UserError


def refuse_existing(folder: Path, overwrite: bool = False, option: str = "--output") -> None:
    """Checks that an output folder may be written.

    Args:
      option: that named the folder, for the remedy.

    Raises:
      UserError: `folder` is a file; or it is not empty, unless `overwrite` is set.
    """
    if folder.is_dir() and not overwrite and any(folder.iterdir()):
        raise UserError(folder, "already exists", f"Choose another {option}, or add --overwrite")
    if folder.exists() and not folder.is_dir():
        raise UserError(folder, "is a file", f"Choose another {option}")


def read_bytes(path: Path) -> bytes:
    """Reads a file without a buffer, which takes a third of `Path.read_bytes` for small files."""
    with path.open("rb", buffering=0) as file:
        return file.read()


def load_json(path: Path, remedy: str) -> Any:
    """Reads a JSON file.

    Args:
      remedy: of the error.

    Raises:
      UserError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"is not JSON: {error}", remedy) from error


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields a new folder `NAME.partial`, and renames it to `folder` if the block succeeds.

    An existing `folder` is kept until then, and replaced completely. After an exception,
    including Ctrl-C, `NAME.partial` is deleted.

    Raises:
      UserError: the folder cannot be created.
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
            # rename() cannot replace a folder that contains files.
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
    """Yields a path `NAME.partial`, and renames that file to `path` if the block succeeds.

    An existing file at `path` is kept until then. After an exception, including Ctrl-C,
    `NAME.partial` is deleted.

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
        with suppress(OSError):  # missing, or its folder is not a folder
            partial.unlink()
