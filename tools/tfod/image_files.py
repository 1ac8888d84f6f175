"""The pictures below a folder, found by the names that annotation files give them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod import images
from tfod.errors import FileFault, UserError, quoted


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files below `folder` with one of the suffixes (lower case, any case matches), sorted.

    The order is that of their relative paths and the same on every file system. Folders and files
    whose names begin with a dot are left out: caches, and the `._` twins of archives from macOS.

    Raises:
      UserError: a folder cannot be listed.
    """
    return [folder.joinpath(*parts) for parts in _list_parts(folder, suffixes)]


def _list_parts(folder: Path, suffixes: Collection[str]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    open_folders: list[tuple[str, ...]] = [()]
    while open_folders:
        parts = open_folders.pop()
        place = folder.joinpath(*parts)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if _split(name)[1].lower() in suffixes and _is_file(entry):
                        found.append((*parts, name))
                    elif entry.is_dir(follow_symlinks=False):
                        open_folders.append((*parts, name))
        except OSError as error:
            what = f"cannot be listed: {error.strerror}"
            raise UserError(place, what, "Check its permissions") from error
    return sorted(found)


def _is_file(entry: os.DirEntry) -> bool:
    # An entry knows what it is without asking the disk again, unless it is a link, perhaps to
    # nothing or to itself.
    return entry.is_file(follow_symlinks=False) or (
        entry.is_symlink() and Path(entry.path).is_file()
    )


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The picture files among files and folders (searched through), sorted within a folder.

    Raises:
      UserError: an input is not there, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in inputs:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise UserError(path, "is not there", "Name a picture or a folder of pictures")
        inside = list_files(path, images.suffixes())
        if not inside:
            raise UserError(path, "holds no pictures", "Name a folder of pictures")
        found.extend(inside)
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class ImageFolder:
    """The pictures below a folder, as they were when it was listed.

    Attributes:
      root: the folder.
      by_stem: by name without suffix: paths below the root, with slashes, sorted.
    """

    root: Path
    by_stem: Mapping[str, Sequence[str]]

    def __iter__(self) -> Iterator[str]:
        """Every picture once, by its path below the root."""
        for group in self.by_stem.values():
            yield from group

    def find(
        self, source: Path, filename: str, other_stem: str = "", beside: Iterable[str] = ("",)
    ) -> str:
        """The one picture that an annotation means, by its path below the root.

        It is looked up by the base name of `filename`, then by that name with another picture
        suffix, then as `other_stem`. So nothing that a file says leads out of the folder.

        Args:
          source: the annotation file, for messages.
          beside: folders below the root; of pictures of one name, the one in the first of these
            is meant.

        Raises:
          FileFault: "image missing" or "image ambiguous".
        """
        name = filename.replace("\\", "/").rpartition("/")[2]
        stem, suffix = _split(name)
        if suffix.lower() not in images.suffixes():
            stem = name  # "sign.v2" is a name without suffix, not a file of type v2
        for wanted in dict.fromkeys((stem, other_stem)):
            named = self.by_stem.get(wanted, ())
            if len(named) == 1:
                return named[0]
            near = ([path for path in named if path.rpartition("/")[0] == at] for at in beside)
            for group in (*near, named):
                found = (
                    [path for path in group if path.rpartition("/")[2] == name]
                    or [path for path in group if _split(path)[1].lower() == suffix.lower()]
                    or group
                )
                if len(found) == 1:
                    return found[0]
                if found:
                    what = f"its picture may be {' and '.join(found)}"
                    raise FileFault(source, "image ambiguous", what, "Remove or rename all but one")
        what = f"no picture {quoted(name or other_stem)} in {self.root}"
        raise FileFault(source, "image missing", what, "Add the picture, or remove its annotation")


def list_images(folder: Path) -> ImageFolder:
    """Lists the pictures below `folder`."""
    by_stem: dict[str, list[str]] = {}
    for parts in _list_parts(folder, images.suffixes()):
        by_stem.setdefault(_split(parts[-1])[0], []).append("/".join(parts))
    return ImageFolder(folder, by_stem)


def _split(name: str) -> tuple[str, str]:
    """Name without suffix, and suffix; as `pathlib` has it, in a tenth of the time."""
    stem, _, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if stem else (name, "")
