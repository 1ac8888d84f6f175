"""Recognizes the output folders of tfod, so that `--overwrite` deletes nothing else."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfod.errors import UserError

# What operating systems put into folders that somebody opens.
SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class FolderKind:
    """What a command writes into a folder.

    Attributes:
      name: the kind, such as "a data set", for messages.
      required: names that each folder of the kind contains.
      others: patterns of the other names, as in `fnmatch`.
      is_own: a further condition, for a folder with the right names.
    """

    name: str
    required: tuple[str, ...]
    others: tuple[str, ...] = ()
    is_own: Callable[[Path], bool] = lambda folder: True

    def check(self, folder: Path, option: str) -> None:
        """Checks that an existing folder can be replaced without a loss.

        Args:
          option: that named the folder, for messages.

        Raises:
          UserError: the folder is of another kind, or contains something that tfod did not write.
        """
        names = {entry.name for entry in os.scandir(folder)}
        if not names.issuperset(self.required):
            raise self._wrong_kind(folder, option)
        strange = min((name for name in names if not self._includes(name)), default=None)
        if strange is not None:
            raise strange_file(folder, strange, self.name, option)
        if not self.is_own(folder):
            raise self._wrong_kind(folder, option)

    def _wrong_kind(self, folder: Path, option: str) -> UserError:
        what = f"exists and is not {self.name}, so it is not overwritten"
        return UserError(folder, what, f"Choose another {option}")

    def _includes(self, name: str) -> bool:
        name = name.removesuffix(".partial")  # after kill -9
        return (
            name in SYSTEM_FILES
            or name in self.required
            or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.others)
        )


def strange_file(folder: Path, name: str, kind: str, option: str) -> UserError:
    """Returns the error about a file that `--overwrite` would delete, and tfod did not write."""
    what = f"contains {name}, which is not part of {kind}, so it is not overwritten"
    return UserError(folder, what, f"Move {name}, or choose another {option}")
