"""Reads files, and writes files and folders that appear only when they are complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

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
    """Reads a file without a buffer: a third of the time of `Path.read_bytes` for small files."""
    with path.open("rb", buffering=0) as file:
        return file.read()


def load_json(path: Path, remedy: str) -> Any:
    """Reads a JSON file.

    Args:
      remedy: what the error tells the user to do.

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
      UserError: the folder cannot be written, or the block cannot open another file.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    replaced = folder.with_name(f"{folder.name}.replaced.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if folder.exists():  # otherwise `replaced` is the only copy of what a killed run replaced
            shutil.rmtree(replaced, ignore_errors=True)
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
    except OSError as error:
        _raise_user_error(error, folder, partial)
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
      UserError: the file cannot be written, or the block cannot open another file.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        _raise_user_error(error, path, partial)
    finally:
        with suppress(OSError):  # missing, or its folder is not a folder
            partial.unlink()


def _raise_user_error(error: OSError, target: Path, partial: Path) -> NoReturn:
    """Raises a UserError for an OSError that was raised while `partial` was written."""
    if isinstance(error, BrokenPipeError):  # of the standard output, as in `tfod predict … | head`
        raise error
    reason = error.strerror or error
    # The error of a full disk has no file name, or both names of a copy.
    files = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    if files and not any(file == target or file.is_relative_to(partial) for file in files):
        remedy = "Check the path and its permissions"
        raise UserError(files[0], f"cannot be opened: {reason}", remedy) from error
    remedy = "Free disk space, or choose another place"
    raise UserError(target, f"cannot be written: {reason}", remedy) from error


def refuse_to_replace(output: Path, sources: Iterable[Path]) -> None:
    """Checks that replacing an output folder deletes no input.

    Raises:
      UserError: one of the sources is `output`, or is inside.
    """
    for source in sources:
        if source.resolve().is_relative_to(output.resolve()):
            raise UserError(output, f"would replace {source}", "Choose another --output")
