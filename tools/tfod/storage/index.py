"""Remembers which version of a file in an object store each local copy is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tfod.errors import UserError

TABLE = """
CREATE TABLE IF NOT EXISTS copies
(path TEXT PRIMARY KEY, version TEXT, size INTEGER, modified INTEGER) WITHOUT ROWID
"""


class Stamp(NamedTuple):
    """Tells whether a local file has changed: its size in bytes and modification time in ns."""

    size: int
    modified: int


class Copy(NamedTuple):
    """A local copy of a file in a store.

    Attributes:
      version: of the file in the store. Empty while it is uploaded, because a process may be killed
        before it knows the new version.
      stamp: of the local file when both were equal.
    """

    version: str
    stamp: Stamp


class Index:
    """A table of copies, in a SQLite file. Each change is on disk when the method returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def copies(self, path: Path) -> dict[Path, Copy]:
        """Returns the copies at a path and in the folder with this path."""
        # In the order of the names, "0" follows "/".
        rows = self._connection.execute(
            "SELECT * FROM copies WHERE path = ? OR (path > ? AND path < ?)",
            (str(path), f"{path}/", f"{path}0"),
        )
        return {Path(name): Copy(version, Stamp(*stamp)) for name, version, *stamp in rows}

    def add(self, copies: Mapping[Path, Copy]) -> None:
        """Adds copies, or replaces them."""
        rows = ((str(path), copy.version, *copy.stamp) for path, copy in copies.items())
        with self._connection:
            self._connection.executemany("REPLACE INTO copies VALUES (?, ?, ?, ?)", rows)

    def remove(self, paths: Iterable[Path]) -> None:
        """Removes copies."""
        rows = ((str(path),) for path in paths)
        with self._connection:
            self._connection.executemany("DELETE FROM copies WHERE path = ?", rows)


@contextmanager
def open_index(file: Path) -> Iterator[Index]:
    """Opens an index, which is created if it does not exist.

    Raises:
      UserError: the file is damaged or cannot be written.
    """
    try:
        connection = sqlite3.connect(file)
        try:
            connection.execute(TABLE)
            yield Index(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        remedy = "Free disk space; if it is damaged, delete its folder, which contains only copies"
        raise UserError(file, f"cannot be used: {error}", remedy) from error
