"""Lists the images in a folder and finds them by the names in annotation files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod import images
from tfod.errors import FileFault, UserError, quoted


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Returns the files in `folder` and its subfolders with one of the suffixes, sorted.

    The order is that of the relative paths, so it is the same on every file system. Names that
    begin with a dot are skipped: caches, and the `._` duplicates in archives from macOS.

    Args:
      suffixes: in lower case; files match in any case.

    Raises:
      UserError: a folder cannot be listed.
    """
    return [folder.joinpath(*parts) for parts in _list_parts(folder, suffixes)]


def _list_parts(folder: Path, suffixes: Collection[str]) -> list[tuple[str, ...]]:
    files: list[tuple[str, ...]] = []
    pending: list[tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        subfolder = folder.joinpath(*parts)
        try:
            with os.scandir(subfolder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if _split(name)[1].lower() in suffixes and _is_file(entry):
                        files.append((*parts, name))
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append((*parts, name))
        except OSError as error:
            what = f"cannot be listed: {error.strerror}"
            raise UserError(subfolder, what, "Check its permissions") from error
    return sorted(files)


def _is_file(entry: os.DirEntry) -> bool:
    # Only a symlink needs another system call. It may be broken or point to itself.
    return entry.is_file(follow_symlinks=False) or (
        entry.is_symlink() and Path(entry.path).is_file()
    )


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Returns the given image files and the images in the given folders, sorted per folder.

    Subfolders are included, and duplicates are removed.

    Raises:
      UserError: an input does not exist, or a folder contains no image.
    """
    files: list[Path] = []
    for path in inputs:
        if path.is_file():
            files.append(path)
            continue
        if not path.is_dir():
            raise UserError(path, "does not exist", "Give an image or a folder of images")
        in_folder = list_files(path, images.suffixes())
        if not in_folder:
            raise UserError(path, "contains no images", "Give a folder of images")
        files.extend(in_folder)
    return list(dict.fromkeys(files))


@dataclass(frozen=True)
class ImageFolder:
    """A listing of the images in a folder and its subfolders.

    Attributes:
      root: the folder.
      by_stem: maps a file name without suffix to paths relative to the root, with slashes, sorted.
    """

    root: Path
    by_stem: Mapping[str, Sequence[str]]

    def __iter__(self) -> Iterator[str]:
        """Yields the path of every image once, relative to the root."""
        for paths in self.by_stem.values():
            yield from paths

    def find(
        self,
        source: Path,
        filename: str,
        other_stem: str = "",
        likely_folders: Iterable[str] = ("",),
    ) -> str:
        """Returns the path of the image of an annotation, relative to the root.

        Searches for the base name of `filename`, then for that name with another image suffix,
        then for `other_stem`. Since only base names are used, no file can refer to a path outside
        the folder.

        Args:
          source: the annotation file, for messages.
          likely_folders: folders relative to the root. If several images have the same name, the
            one in the first of these folders is used.

        Raises:
          FileFault: "image missing" or "image ambiguous".
        """
        name = filename.replace("\\", "/").rpartition("/")[2]
        stem, suffix = _split(name)
        if suffix.lower() not in images.suffixes():
            stem = name  # "sign.v2" is a name without suffix, not a file of type v2
        for searched_stem in dict.fromkeys((stem, other_stem)):
            paths = self.by_stem.get(searched_stem, ())
            if len(paths) == 1:
                return paths[0]
            in_likely_folders = (
                [path for path in paths if path.rpartition("/")[0] == folder]
                for folder in likely_folders
            )
            for group in (*in_likely_folders, paths):
                matches = (
                    [path for path in group if path.rpartition("/")[2] == name]
                    or [path for path in group if _split(path)[1].lower() == suffix.lower()]
                    or group
                )
                if len(matches) == 1:
                    return matches[0]
                if matches:
                    what = f"matches several images: {', '.join(matches)}"
                    raise FileFault(source, "image ambiguous", what, "Remove or rename all but one")
        what = f"no image {quoted(name or other_stem)} in {self.root}"
        raise FileFault(source, "image missing", what, "Add the image, or remove its annotation")


def list_images(folder: Path) -> ImageFolder:
    """Lists the images in `folder` and its subfolders."""
    by_stem: dict[str, list[str]] = {}
    for parts in _list_parts(folder, images.suffixes()):
        by_stem.setdefault(_split(parts[-1])[0], []).append("/".join(parts))
    return ImageFolder(folder, by_stem)


def _split(name: str) -> tuple[str, str]:
    """Returns the stem and suffix like `pathlib`, in a tenth of the time."""
    stem, _, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if stem else (name, "")
