"""Copies files and folders from an object store to this machine and back.

Commands work on the copies, so that they need to know nothing of stores. `Mirror.pull` downloads
what is new in the store, and `Mirror.push` uploads what the command has written. Copies stay in the
cache folder: the next command downloads only what has changed since.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tfod.download import cache_folder
from tfod.errors import UserError, quoted
from tfod.progress import Progress, silent
from tfod.storage.index import Copy, Index, Stamp, open_index

PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}  # of the schemes in URLs
# Files that name others: they appear in the store after those, and a folder without them is not
# taken for a data set or for a checkpoint.
LAST = ("dataset.json", "checkpoint")
BATCH_FILES, BATCH_BYTES = 500, 64 << 20  # at most, that are transferred at the same time
ATTEMPTS = 3  # in addition to those of the libraries, which differ
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
FULL = (errno.ENOSPC, errno.EDQUOT)


class _Remote(NamedTuple):
    """A file in the store: its version and its size in bytes."""

    version: str
    size: int


def is_url(text: str) -> bool:
    """Whether a text is the URL of a file or folder in an object store."""
    return text.startswith(tuple(f"{scheme}://" for scheme in PACKAGES))


def urls_of_copies(text: str) -> str:
    """Replaces the paths of local copies in a text by their URLs."""
    for scheme in PACKAGES:
        text = text.replace(f"{_store_folder() / scheme}/", f"{scheme}://")
    return text


def copies_of_urls(text: str) -> str:
    """Replaces URLs in quotes by the paths of their local copies."""
    for scheme in PACKAGES:
        text = text.replace(f'"{scheme}://', f'"{_store_folder() / scheme}/')
    return text


def _store_folder() -> Path:
    return cache_folder() / "store"


@dataclass(frozen=True)
class Mirror:
    """A file or folder in an object store, and its local copy.

    Several processes may use copies at the same time. One of them transfers files at a time.

    Attributes:
      url: such as `s3://BUCKET/FOLDER`.
      path: the local copy. It may not exist.
      is_output: a command writes this folder: files that it has deleted from the copy are deleted
        from the store, too, unless they have changed there.
    """

    url: str
    path: Path
    is_output: bool

    @classmethod
    def of(cls, url: str, is_output: bool = False) -> Mirror:
        """Returns the mirror of a URL.

        Raises:
          UserError: the URL names no bucket, or its path cannot be that of a local file.
        """
        scheme, _, key = url.partition("://")
        key = key.rstrip("/")
        if not key:
            raise UserError(url, "names no bucket", f"Give a URL such as {scheme}://BUCKET/FOLDER")
        return cls(f"{scheme}://{key}", _local(scheme, key), is_output)

    def exists(self) -> bool:
        """Whether the store contains the file, or a file in the folder.

        Raises:
          UserError: the store cannot be read.
        """
        with self._errors("read"):
            return self._files().exists(self._key)

    def pull(self, progress: Progress = silent) -> None:
        """Makes the copy equal to the store, except for local files that were not uploaded yet.

        A process that is killed has downloaded complete files, which are not downloaded again.

        Args:
          progress: called with bytes.

        Raises:
          UserError: the store cannot be read; a file has changed on both sides; the disk is full.
        """
        with self._index() as index, self._errors("read"):
            remotes, copies = self._list(), index.copies(self.path)
            wanted, conflicts = {}, []
            for path, remote in remotes.items():
                copy, stamp = copies.get(path), _stamp(path)
                if stamp is None:
                    wanted[path] = remote
                elif copy is None or copy.version not in (remote.version, ""):
                    if copy is not None and copy.stamp == stamp:
                        wanted[path] = remote
                    else:
                        conflicts.append(path)
            if conflicts:
                count = f"{len(conflicts)} files have" if len(conflicts) > 1 else "has"
                what = f"{count} changed in the store and in the local copy {conflicts[0]}"
                remedy = "Delete the local file to use that of the store, or the other one"
                raise UserError(self.url, what, remedy)
            self._download(wanted, index, progress)
            missing = copies.keys() - remotes.keys()
            for path in missing:
                # Not what was being uploaded when a process was killed.
                if copies[path].version and copies[path].stamp == _stamp(path):
                    path.unlink()
            index.remove(missing)

    def push(self, progress: Progress = silent) -> None:
        """Uploads the files of the copy that are new or have changed.

        Args:
          progress: called with bytes.

        Raises:
          UserError: the store cannot be written.
        """
        with self._index() as index, self._errors("written"):
            copies = index.copies(self.path)
            if not self.path.is_dir():
                for path in self._local_files():
                    copies |= index.copies(path)
            # Another process may be writing: a file of `LAST` is uploaded only if all files that it
            # names were there when the others were listed.
            last = {path: _stamp(path) for path in self._local_files() if path.name in LAST}
            stamps = {path: _stamp(path) for path in self._local_files()}
            early = {
                path for path in stamps if path.name in LAST and last.get(path) != stamps[path]
            }
            changed = {
                path: stamp
                for path, stamp in stamps.items()
                if stamp is not None
                and path not in early
                and not _is_stored(copies.get(path), stamp)
            }
            if not changed:
                return
            self._upload(changed, index, progress)
            remotes = self._list() if self.path.is_dir() else self._find(changed)
            versions = {path: remotes[path].version for path in changed if path in remotes}
            index.add({path: Copy(version, changed[path]) for path, version in versions.items()})
            if self.is_output:
                gone = [path for path in copies if path not in stamps and _stamp(path) is None]
                self._delete(gone, copies, remotes)
                index.remove(gone)

    def _delete(
        self, gone: Iterable[Path], copies: Mapping[Path, Copy], remotes: Mapping[Path, _Remote]
    ) -> None:
        """Deletes files that are gone here, unless another machine has replaced them."""
        for path in gone:
            if path in remotes and remotes[path].version == copies[path].version:
                self._files().rm_file(self._key_of(path))  # `rm` expands patterns such as [1]

    @property
    def _key(self) -> str:
        return self.url.partition("://")[2]

    def _key_of(self, path: Path) -> str:
        return path.relative_to(_store_folder() / self.url.partition("://")[0]).as_posix()

    def _local_files(self) -> Iterator[Path]:
        """Yields the files of the copy."""
        if self.path.is_dir():
            found: Iterable[Path] = self.path.rglob("*")
        else:
            # Commands write some results beside a file, under its name: the metrics of a model.
            beside = self.path.parent.iterdir() if self.path.parent.is_dir() else ()
            found = (path for path in beside if path.name.startswith(self.path.stem))
        return (path for path in found if path.is_file() and not path.is_symlink())

    def _files(self) -> Any:
        """Returns the fsspec file system.

        Raises:
          UserError: its package is not installed.
        """
        scheme = self.url.partition("://")[0]
        # gcsfs warns in each call if it may not read the properties of the bucket.
        logging.getLogger(PACKAGES[scheme]).setLevel(logging.ERROR)
        try:
            import fsspec

            return fsspec.filesystem(scheme, use_listings_cache=False)
        except ImportError as error:
            package = PACKAGES[scheme]
            what = f"needs the package {package}"
            raise UserError(self.url, what, f"Install it: pip install {package}") from error

    def _list(self) -> dict[Path, _Remote]:
        """Returns the files in the store by their local paths."""
        scheme = self.url.partition("://")[0]
        return {
            _local(scheme, key): _remote(info)
            for key, info in self._files().find(self._key, detail=True).items()
            if info["type"] == "file" and not key.endswith("/")  # other tools mark folders so
        }

    def _find(self, paths: Iterable[Path]) -> dict[Path, _Remote]:
        """Returns files in the store by their local paths."""
        return {path: _remote(self._files().info(self._key_of(path))) for path in paths}

    def _download(self, remotes: Mapping[Path, _Remote], index: Index, progress: Progress) -> None:
        incoming = _store_folder() / "incoming"
        incoming.mkdir(exist_ok=True)
        sizes = {path: remote.size for path, remote in remotes.items()}
        for batch in _batches(sizes, progress, "downloading"):
            partial = [incoming / str(number) for number in range(len(batch))]
            keys = [self._key_of(path) for path in batch]
            _retry(functools.partial(self._files().get, keys, [str(path) for path in partial]))
            copies = {}
            for path, file in zip(batch, partial, strict=True):
                stamp = _stamp(file)
                if stamp is None or stamp.size != sizes[path]:
                    what = f"{self._key_of(path)} has another size than listed"
                    raise OSError(f"{what}: it is being changed")
                copies[path] = Copy(remotes[path].version, stamp)
            index.add(copies)  # before the files appear: if one does not, it is downloaded again
            for path, file in zip(batch, partial, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                file.replace(path)

    def _upload(self, changed: Mapping[Path, Stamp], index: Index, progress: Progress) -> None:
        sizes = {
            path: changed[path].size
            for path in sorted(changed, key=lambda path: (path.name in LAST, path))
        }
        for batch in _batches(sizes, progress, "uploading", lambda path: path.name in LAST):
            index.add({path: Copy("", changed[path]) for path in batch})
            _retry(functools.partial(self._put, batch))

    def _put(self, batch: Sequence[Path]) -> None:
        # Another process may have deleted some, such as an old checkpoint.
        there = [path for path in batch if path.exists()]
        if there:
            keys = [self._key_of(path) for path in there]
            self._files().put([str(path) for path in there], keys)

    @contextmanager
    def _index(self) -> Iterator[Index]:
        """Opens the index, when no other process transfers files."""
        import fcntl  # not on Windows, see `files`

        folder = _store_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            remedy = "Check its permissions, or set XDG_CACHE_HOME to another folder"
            raise UserError(folder, f"cannot be written: {error.strerror}", remedy) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system unlocks it when the process ends
            with open_index(folder / "index.sqlite") as index:
                yield index
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        """Raises errors of the store and of local files as a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each library has its own ones
            if isinstance(error, OSError) and error.errno in FULL:
                remedy = "Free disk space, or set XDG_CACHE_HOME to another folder"
                raise UserError(_store_folder(), f"cannot be written: {error}", remedy) from error
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            remedy = "Check the address, the credentials and the network, and repeat the command"
            raise UserError(self.url, f"cannot be {verb}: {reason}", remedy) from error


def _local(scheme: str, key: str) -> Path:
    """Returns the path of the copy of a file.

    Raises:
      UserError: the key would lead out of the folder of the copies, or is not a valid path.
    """
    parts = key.split("/")
    if not all(parts) or {".", ".."}.intersection(parts) or "\0" in key:
        remedy = "Rename it, or leave it out of the folder"
        raise UserError(f"{scheme}://{quoted(key)}", "cannot be the name of a local file", remedy)
    return _store_folder() / scheme / PurePosixPath(key)


def _remote(info: Mapping[str, Any]) -> _Remote:
    """Returns what fsspec knows of a file. Stores name its version differently."""
    version = info.get("ETag") or info.get("etag") or info.get("generation")
    return _Remote(str(version), info["size"])


def _stamp(path: Path) -> Stamp | None:
    """Returns the stamp of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _is_stored(copy: Copy | None, stamp: Stamp) -> bool:
    """Whether the store has the present state of a local file."""
    return copy is not None and bool(copy.version) and copy.stamp == stamp


def _batches(
    sizes: Mapping[Path, int],
    progress: Progress,
    stage: str,
    is_last: Callable[[Path], bool] = lambda path: False,
) -> Iterator[list[Path]]:
    """Yields the files in batches, in order, and reports the bytes of those that are done.

    Args:
      is_last: tells which files must not be in one batch with the others before them.
    """
    total, done = sum(sizes.values()), 0
    batch: list[Path] = []
    in_batch = 0
    if sizes:
        progress(stage, 0, total)
    for path, size in sizes.items():
        is_full = len(batch) == BATCH_FILES or in_batch + size > BATCH_BYTES
        if batch and (is_full or is_last(path) != is_last(batch[-1])):
            yield batch
            done += in_batch
            progress(stage, done, total)
            batch, in_batch = [], 0
        batch.append(path)
        in_batch += size
    if batch:
        yield batch
        progress(stage, total, total)


def _retry(transfer: Callable[[], None]) -> None:
    """Calls a function again if it fails, unless the error would be the same."""
    for attempt in range(ATTEMPTS):
        try:
            return transfer()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each library has its own ones
            is_full = isinstance(error, OSError) and error.errno in FULL
            if is_full or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt)
