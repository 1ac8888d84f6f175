"""Lists the images in a folder and finds them by the names in annotation files."""

from __future__ import annotations

import functools
import itertools
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfod import images
from tfod.errors import FileFault, UserError, quoted

# Words in folder names that say what a folder contains, not where it belongs. Without them,
# `labels/train`, `train/annotations` and `train_images` are the same place.
CONTENT_WORD = re.compile(
    r"(anno|annot|annotation|bbox|box|dataset|frame|image|img|jpe?g|jpegimage|label|photo|pic"
    r"|picture|png|xml)(e?s)?|coco|csv|data|default|gt|img1|json|obj|txt|voc|yolo"
)
IMAGE_LIST = "images.txt"
MASKS = frozenset({"SegmentationClass", "SegmentationObject"})  # of VOC: PNG files, but no photos

Words = tuple[str, ...]


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Returns the files in `folder` and its subfolders with one of the suffixes, sorted.

    The order is that of the relative paths, so it is the same on every file system. Names that
    begin with a dot are skipped: caches, and the `._` duplicates in archives from macOS. Links to
    folders are followed, but no folder is listed twice.

    Args:
      suffixes: in lower case; files match in any case.

    Raises:
      UserError: a folder cannot be listed.
    """
    return [folder.joinpath(*parts) for parts in _list_parts(folder, suffixes)]


def _list_parts(folder: Path, suffixes: Collection[str]) -> list[tuple[str, ...]]:
    root = folder.resolve()
    files: list[tuple[str, ...]] = []
    pending: list[tuple[tuple[str, ...], Path]] = [((), root)]  # and the path without links
    links: list[tuple[str, ...]] = []
    listed: set[Path] = set()
    while pending or links:
        if pending:
            parts, real = pending.pop()
        else:
            # Links are followed last, so that a folder keeps its own path if it is in `folder`.
            links.sort(reverse=True)
            parts = links.pop()
            real = folder.joinpath(*parts).resolve()
            if root.is_relative_to(real):
                continue
        if real in listed:
            continue
        listed.add(real)
        subfolder = folder.joinpath(*parts)
        try:
            with os.scandir(subfolder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if _split(name)[1].lower() in suffixes and _is_file(entry):
                        files.append((*parts, name))
                    elif name in MASKS:
                        continue
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append(((*parts, name), real / name))
                    elif entry.is_symlink() and Path(entry.path).is_dir():
                        links.append((*parts, name))
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
            heic = list_files(path, images.HEIC_SUFFIXES)
            if heic:
                raise UserError(heic[0], images.HEIC_FAULT, images.HEIC_REMEDY)
            raise UserError(path, "contains no images", "Give a folder of images")
        files.extend(in_folder)
    return list(dict.fromkeys(files))


def write_image_list(file: Path, names: Sequence[str]) -> None:
    """Writes a list of images: one name per line, relative to their folder, with slashes."""
    file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def read_image_list(path: Path) -> list[str]:
    """Returns the names in a list of images, see `write_image_list`.

    Args:
      path: the list, or a folder that contains it as `images.txt`.

    Raises:
      UserError: the list cannot be read, or is empty.
    """
    file = path / IMAGE_LIST if path.is_dir() else path
    remedy = f"Give a folder with {IMAGE_LIST}, or a text file with one image per line"
    try:
        names = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(file, f"cannot be read: {reason}", remedy) from error
    names = [name for name in names if name.strip()]
    if not names:
        raise UserError(file, "names no images", remedy)
    return names


@dataclass(frozen=True)
class ImageFolder:
    """A listing of the images in a folder and its subfolders.

    Attributes:
      root: the folder.
      by_stem: maps a file name without suffix, in Unicode form NFC, to paths relative to the root,
        with slashes, sorted.
      places: the `_place` of each folder that contains images, sorted.
      heic: paths of HEIC files that cannot be read here, like `by_stem`.
    """

    root: Path
    by_stem: Mapping[str, Sequence[str]]
    places: tuple[Words, ...] = ()
    heic: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        """Yields the path of every image once, relative to the root."""
        for paths in self.by_stem.values():
            yield from paths

    def find(self, source: Path, filename: str, other_stem: str = "", subfolder: str = "") -> str:
        """Returns the path of the image of an annotation, relative to the root.

        Searches for the base name of `filename`, then for that name with another image suffix,
        then for `other_stem`. Since only base names are searched, no file can refer to a path
        outside the folder. Folders exclude and prefer images: the image of `cam1/1.xml`, or of
        the `filename` `cam1/1.jpg`, may be `cam1/1.jpg`, `images/cam1/1.jpg` or, if no folder
        belongs to `cam1`, `1.jpg`, but never `cam2/1.jpg`.

        Args:
          source: the annotation file, for messages.
          filename: may contain folders, which need not exist here.
          other_stem: a name without suffix.
          subfolder: the folder of the annotation file, relative to all annotations.

        Raises:
          FileFault: "image missing", "image ambiguous", or "image unreadable" if it is a HEIC file
            that cannot be read.
        """
        named, _, name = _nfc(filename.replace("\\", "/")).rpartition("/")
        stem, suffix = _split(name)
        known = images.suffixes(), images.HEIC_SUFFIXES
        if not any(suffix.lower() in suffixes for suffixes in known):
            stem = name  # "sign.v2" is a name without suffix, not a file of type v2
        stems = dict.fromkeys((stem, _nfc(other_stem)))
        subfolder = _nfc(subfolder)
        likely_folders = (f"{subfolder}/{named}".strip("/"), named, subfolder)
        elsewhere: list[str] = []
        for searched_stem in stems:
            paths = self.by_stem.get(searched_stem, ())
            if len(paths) == 1 and self._fits(_folder(paths[0]), named, subfolder):
                return paths[0]
            in_likely_folders = (
                [path for path in paths if _folder(path) == folder] for folder in likely_folders
            )
            in_likely_places = (
                [path for path in paths if _place(_folder(path)) == _place(folder)]
                for folder in likely_folders
            )
            # Generators, because the first group is usually enough.
            for group in itertools.chain(in_likely_folders, in_likely_places, [paths]):
                fitting = [path for path in group if self._fits(_folder(path), named, subfolder)]
                matches = (
                    [path for path in fitting if _nfc(path).rpartition("/")[2] == name]
                    or [path for path in fitting if _split(path)[1].lower() == suffix.lower()]
                    or fitting
                )
                if len(matches) == 1:
                    return matches[0]
                if matches:
                    what = f"matches several images: {', '.join(matches)}"
                    raise FileFault(source, "image ambiguous", what, "Remove or rename all but one")
            elsewhere += paths
        heic = [path for stem in stems for path in self.heic.get(stem, ())]
        if heic:
            fault = images.HEIC_FAULT, images.HEIC_REMEDY
            raise FileFault(self.root / heic[0], "image unreadable", *fault)
        what, remedy = f"no image {quoted(name or other_stem)} in {self.root}", "Add the image"
        if elsewhere:
            wanted = f"{likely_folders[0]}/{name or other_stem}"
            what = f"no image {quoted(wanted)} in {self.root}, only {quoted(elsewhere[0])}"
            remedy += ", or give images and annotations the same subfolders"
        else:
            remedy += ", or remove its annotation"
        raise FileFault(source, "image missing", what, remedy)

    def _fits(self, folder: str, named: str, subfolder: str) -> bool:
        """Returns whether `folder` may contain the image of an annotation, see `find`."""
        if not (folder or named or subfolder):
            return True
        place, wanted = _place(folder), (_place(named), _place(subfolder))
        if place or not any(wanted):
            return _may_be(place, *wanted)
        return not any(other and _may_be(other, *wanted) for other in self.places)


def list_images(folder: Path) -> ImageFolder:
    """Lists the images in `folder` and its subfolders."""
    by_stem: dict[str, list[str]] = {}
    heic: dict[str, list[str]] = {}
    folders: set[tuple[str, ...]] = set()
    readable = images.suffixes()
    for parts in _list_parts(folder, readable | images.HEIC_SUFFIXES):
        stem, suffix = _split(parts[-1])
        listing = by_stem if suffix.lower() in readable else heic
        listing.setdefault(_nfc(stem), []).append("/".join(parts))
        folders.add(parts[:-1])
    places = {_place("/".join(parts)) for parts in folders}
    return ImageFolder(folder, by_stem, tuple(sorted(places)), heic)


def _split(name: str) -> tuple[str, str]:
    """Returns the stem and suffix like `pathlib`, in a tenth of the time."""
    stem, _, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if stem else (name, "")


def _folder(path: str) -> str:
    return _nfc(path.rpartition("/")[0])


def _nfc(text: str) -> str:
    """Composes accents: macOS stores "é" in file names as "e" and an accent."""
    return unicodedata.normalize("NFC", text)


@functools.lru_cache(maxsize=1 << 16)
def _place(folder: str) -> Words:
    """Returns the words that tell a folder from others: `labels/train_1` gives "train 1"."""
    words = []
    for part in folder.casefold().split("/"):
        told = [w for w in re.split(r"[\s_.:-]+", part) if w and not CONTENT_WORD.fullmatch(w)]
        if told:
            words.append(" ".join(told))
    return tuple(words)


@functools.lru_cache(maxsize=1 << 16)
def _may_be(place: Words, named: Words, subfolder: Words) -> bool:
    """Returns whether a place may be the one that an annotation names, or that it is in."""
    if named and place[-len(named) :] == named:
        return _is_compatible(place[: -len(named)], subfolder)
    return _is_compatible(place, named or subfolder)


def _is_compatible(one: Words, other: Words) -> bool:
    """Returns whether the words of the shorter are all in the longer, in this order."""
    short, long = sorted((one, other), key=len)
    rest = iter(long)
    return all(word in rest for word in short)
