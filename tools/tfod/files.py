"""Reads files, and writes files and folders that appear only when they are complete."""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from tfod import interruption
from tfod.errors import UserError

LOCK = ".tfod"  # in NAME.partial: says that tfod made the folder, and is locked by who writes there
SMALL_LOCK = ".tfod-file"  # the same in NAME.RANDOM.partial, which has one small file
CHUNK = 1 << 20  # bytes read at a time
REMEDIES = {
    errno.EACCES: "Check the permissions, or choose another place",
    errno.EPERM: "Check the permissions, or choose another place",
    errno.EROFS: "Choose another place",
    errno.EBUSY: "If it is a mount point, give a folder in it",
}


def read_bytes(path: Path) -> bytes:
    """Reads a file without a buffer: a third of the time of `Path.read_bytes` for small files."""
    with path.open("rb", buffering=0) as file:
        return file.read()


def load_json(path: Path, remedy: str, read_object: Callable[[dict], Any] | None = None) -> Any:
    """Reads a JSON file.

    Args:
      remedy: what the error tells the user to do.
      read_object: returns what replaces an object, inner ones first; None to keep all.

    Raises:
      UserError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes(), object_hook=read_object)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"is not JSON: {error}", remedy) from error


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replacing_folder(
    folder: Path,
    overwrite: bool = False,
    *,
    check_old: Callable[[Path, str], None] | None = None,
    inputs: Iterable[Path] = (),
    option: str = "--output",
) -> Iterator[Path]:
    """Yields a new folder with the same name, and moves it to `folder` if the block succeeds.

    The new folder is in `NAME.partial`, next to `folder`. An existing `folder` is kept until the
    block has succeeded, and is then replaced completely. If `folder` is a link, the folder that it
    points to is replaced. After an exception, including Ctrl-C, `NAME.partial` is deleted. After
    kill -9, the next call deletes it. No other folder is ever deleted.

    Args:
      overwrite: replaces a folder that is not empty.
      check_old: called as `check_old(folder, option)` before that. Raises a UserError if the folder
        must not be replaced, such as `FolderKind.check`. Without it, no folder is replaced.
      inputs: files and folders that must not be replaced.
      option: that named the folder, for messages.

    Raises:
      UserError: `folder` exists and must not be replaced; another process writes it; it cannot be
        written; or the block cannot open another file.
    """
    inputs = tuple(inputs)
    try:
        target = Path(os.path.realpath(folder))
        partial = target.parent / f"{target.name}.partial"
        new, replaced = partial / target.name, partial / f"{target.name}.replaced"

        def check() -> None:
            _check_place(folder, target, option)
            refuse_to_replace(folder, inputs, option)
            if not target.is_dir() or not any(target.iterdir()):
                return
            if not overwrite or check_old is None:
                remedy = f"Choose another {option}{', or add --overwrite' * bool(check_old)}"
                raise UserError(folder, "already exists", remedy)
            check_old(folder, option)

        check()
        with _own_folder(partial, folder, option):
            _restore(replaced, target)  # a process was killed between the two renames below
            _clear(partial)
            check()
            new.mkdir()
            yield new
            check()  # another program may have written there
            with interruption.complete():
                try:
                    if target.exists():
                        # rename() cannot replace a folder that contains files.
                        target.rename(replaced)
                    new.rename(target)
                finally:
                    _restore(replaced, target)
    except OSError as error:
        _raise_user_error(error, folder, target)


@contextmanager
def adding_to_folder(folder: Path, option: str = "--output") -> Iterator[Path]:
    """Yields a new folder, and moves its files to `folder` if the block succeeds.

    `folder` is created if it does not exist. What it contains is never changed. The new folder is
    in `folder`/.partial, which is deleted after an exception, including Ctrl-C. After kill -9, the
    next call deletes it.

    Args:
      option: that named the folder, for messages.

    Raises:
      UserError: `folder` contains a file of the same name; another process writes it; it cannot be
        written; or the block cannot open another file.
    """
    try:
        target = Path(os.path.realpath(folder))
        if target.exists() and not target.is_dir():
            raise UserError(folder, "is a file", f"Choose another {option}")
        with _new_folder(target / ".partial", folder, option) as new:
            yield new
            with interruption.complete():
                names = sorted(path.name for path in new.iterdir())
                for name in names:
                    if os.path.lexists(target / name):
                        raise UserError(target / name, "already exists", "Rename it, or delete it")
                for name in names:
                    (new / name).rename(target / name)
    except OSError as error:
        _raise_user_error(error, folder, target)


def _check_place(folder: Path, target: Path, option: str) -> None:
    """Raises a UserError if there can be no output folder at this place.

    Args:
      target: `folder` without links.
    """
    another = f"Choose another {option}"
    if folder.is_symlink() and not folder.exists():
        raise UserError(folder, "is a broken link", another)
    if target.exists() and not target.is_dir():
        raise UserError(folder, "is a file", another)
    if Path.cwd().is_relative_to(target):
        what = "is the current folder, or contains it, so it cannot be replaced"
        raise UserError(folder, what, "Give a new folder")
    if os.path.ismount(target):  # as a volume in a container
        what = "is a mount point, which cannot be replaced"
        raise UserError(folder, what, f"Give a new folder in it, such as {folder / 'NAME'}")


def _restore(replaced: Path, target: Path) -> None:
    if replaced.exists() and not target.exists():
        replaced.rename(target)


@contextmanager
def _own_folder(partial: Path, folder: Path, option: str) -> Iterator[None]:
    """Creates the folder `partial`, locks it for this process, and deletes it at the end.

    A folder that a killed process left is used again, with its content.

    Args:
      folder, option: the output, for messages.

    Raises:
      UserError: another process uses the folder, or tfod did not create it.
    """
    new_parents = [parent for parent in partial.parents if not parent.exists()]
    with interruption.cleanup():
        with interruption.complete():
            lock = _lock(partial, folder, option)
        try:
            yield
        finally:
            with interruption.complete(), suppress(OSError):
                _clear(partial)
                # Last: without this file, the next call does not know that tfod made the folder.
                (partial / LOCK).unlink()
                partial.rmdir()
                for parent in new_parents:
                    parent.rmdir()  # fails if the output is in it
            os.close(lock)


@contextmanager
def _new_folder(partial: Path, folder: Path, option: str) -> Iterator[Path]:
    """Yields a new folder in `partial`, see `_own_folder`. Deletes what a killed process left."""
    with _own_folder(partial, folder, option):
        _clear(partial)
        new = partial / "new"
        new.mkdir()
        yield new


def _clear(partial: Path) -> None:
    for path in partial.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path, ignore_errors=True)


def _lock(partial: Path, folder: Path, option: str) -> int:
    """Creates `partial`, and returns the descriptor of the locked file in it."""
    file = partial / LOCK
    while True:
        is_folder = partial.is_dir() and not partial.is_symlink()
        is_ours = is_folder and (file.exists() or not any(partial.iterdir()))
        if (partial.exists() or partial.is_symlink()) and not is_ours:
            remedy = f"Rename it, or choose another {option}"
            raise UserError(partial, "exists, and tfod needs this name", remedy)
        partial.mkdir(parents=True, exist_ok=True)
        lock = _open_locked(file, folder, option)
        if file.exists() and os.path.samestat(file.stat(), os.fstat(lock)):
            return lock
        os.close(lock)  # the other process has just ended and deleted the file


def _open_locked(file: Path, folder: Path, option: str) -> int:
    """Returns the descriptor of the locked file; the system unlocks it when the process ends.

    Args:
      folder, option: the output, for the message.

    Raises:
      UserError: another process has locked the file.
    """
    import fcntl  # not on Windows, where the detector works, but no command is supported

    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        remedy = f"Wait until it has ended, or choose another {option}"
        raise UserError(folder, "is being written by another tfod", remedy) from error
    except OSError:
        pass  # some network file systems have no locks
    return lock


@contextmanager
def locked(file: Path, folder: Path, option: str = "--output") -> Iterator[None]:
    """Locks an existing file of the output `folder`, against other processes that write there.

    Raises:
      UserError: another process has locked the file, or it cannot be written.
    """
    try:
        lock = _open_locked(file, folder, option)
    except OSError as error:
        _raise_user_error(error, folder, folder)
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def replacing_file(path: Path, option: str | None = None) -> Iterator[Path]:
    """Yields a path in a temporary folder, and moves that file to `path` if the block succeeds.

    The folder is next to `path`, and the file has the same name. An existing file at `path` is kept
    until then.

    Args:
      option: that named a file which takes long to write. Only one process can write it at once,
        and after kill -9, the next call deletes the temporary folder. None for a file that is
        written quickly: several processes can do so at once, and the last one replaces it. After
        kill -9, the next process that writes a file in the same folder deletes the temporary one.

    Raises:
      UserError: `path` is a folder or cannot be written; another process writes it, with `option`;
        or the block cannot open another file.
    """
    if path.is_dir():
        raise UserError(path, "is a folder", "Give a file name")
    try:
        with interruption.cleanup(), _folder_beside(path, option) as folder:
            partial = folder / path.name
            yield partial
            partial.replace(path)
    except OSError as error:
        _raise_user_error(error, path, path)


@contextmanager
def _folder_beside(path: Path, option: str | None) -> Iterator[Path]:
    """Yields the temporary folder of `replacing_file`."""
    if option is not None:
        with _new_folder(path.with_name(f"{path.name}.partial"), path, option) as folder:
            yield folder
        return
    _delete_abandoned(path.parent)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f"{path.name}.", suffix=".partial", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        with _small_lock(folder):
            yield folder


@contextmanager
def _small_lock(folder: Path) -> Iterator[None]:
    """Creates the locked file in a new temporary folder of a small file."""
    import fcntl  # not on Windows, see `_open_locked`

    new = folder / f"{SMALL_LOCK}.new"
    lock = os.open(new, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # some file systems have no locks: nobody deletes this folder then
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It has its name only now: who finds it unlocked knows that its process has ended.
            new.rename(folder / SMALL_LOCK)
        yield
    finally:
        os.close(lock)


@functools.cache  # once per process: a folder may contain many files, and all are written
def _delete_abandoned(folder: Path) -> None:
    """Deletes the temporary folders of small files in a folder that killed processes left."""
    for lock in folder.glob(f"*.partial/{SMALL_LOCK}"):
        if _is_abandoned(lock):
            shutil.rmtree(lock.parent, ignore_errors=True)


def _is_abandoned(file: Path) -> bool:
    """Whether the process that locked a file has ended."""
    import fcntl

    try:
        lock = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def _raise_user_error(error: OSError, path: Path, target: Path) -> NoReturn:
    """Raises a UserError for an OSError that was raised while an output was written.

    Args:
      path: the output, for the message.
      target: the same without links.
    """
    if isinstance(error, BrokenPipeError):  # of the standard output, as in `tfod predict … | head`
        raise error
    reason = error.strerror or error
    # The error of a full disk has no file name, or both names of a copy.
    files = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    if files and not any(_is_part(file, target) for file in files):
        remedy = "Check the path and its permissions"
        raise UserError(files[0], f"cannot be opened: {reason}", remedy) from error
    remedy = REMEDIES.get(error.errno or 0, "Free disk space, or choose another place")
    raise UserError(path, f"cannot be written: {reason}", remedy) from error


def _is_part(file: Path, target: Path) -> bool:
    """Whether a file is an output, in it, or in its `.partial` folder."""
    if not file.is_relative_to(target.parent):
        return False
    first, *_ = file.relative_to(target.parent).parts or ("",)
    is_partial = first.startswith(f"{target.name}.") and first.endswith(".partial")
    return first == target.name or is_partial


class UniqueNames:
    """Names files in one folder. Equal stems from different input folders get a number."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}  # macOS ignores case

    def add(self, path: Path, suffix: str) -> str:
        """Returns the stem of `path` with another suffix, and a number if that name is taken."""
        name, number = f"{path.stem}{suffix}", 2
        while name.casefold() in self._taken:
            name, number = f"{path.stem}_{number}{suffix}", number + 1
        self._taken.add(name.casefold())
        return name


def refuse_to_replace(output: Path, sources: Iterable[Path], option: str = "--output") -> None:
    """Checks that replacing an output folder deletes no input.

    Args:
      option: that named the folder, for messages.

    Raises:
      UserError: one of the sources is `output`, or is inside.
    """
    target = os.path.realpath(output)
    for source in sources:
        if Path(os.path.realpath(source)).is_relative_to(target):
            raise UserError(output, f"would replace {source}", f"Choose another {option}")


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Collection[Path], files: Collection[Path] = ()
) -> None:
    """Checks that the outputs of a command replace neither one another nor an input.

    Args:
      outputs: files and folders by the options that name them; None for those that were not given.
      inputs: files and folders.
      files: those that were found in the folders among them, if an output file could be one.

    Raises:
      UserError: two outputs are the same, an input is an output, or one of them is in a folder that
        is an output.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    for (option, path), (other_option, other) in itertools.combinations(given.items(), 2):
        if os.path.realpath(path) == os.path.realpath(other):
            what = f"both would write {path}"
            raise UserError(f"{option} and {other_option}", what, "Give two different names")
    for option, path in given.items():
        refuse_to_replace(path, (other for other in given.values() if other is not path), option)
        if path.is_file():
            _refuse_input(path, itertools.chain(inputs, files), option)
        else:
            refuse_to_replace(path, inputs, option)


def _refuse_input(file: Path, inputs: Iterable[Path], option: str) -> None:
    """Raises a UserError if an output file is an input, maybe under another name."""
    status = file.stat()
    for path in inputs:
        with suppress(OSError):  # such as a camera
            if os.path.samestat(status, path.stat()):
                what = f"is an input, which {option} would replace"
                raise UserError(file, what, f"Choose another {option}")
