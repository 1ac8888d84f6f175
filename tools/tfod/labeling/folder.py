"""A folder of images and their PASCAL VOC files, edited one image at a time.

Every change is written at once, to a temporary file that then replaces the old one. So a browser or
a process may end at any moment, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfod import images
from tfod.annotation import Box
from tfod.annotation.raw_annotation import annotated_size
from tfod.annotation.voc import read_xml
from tfod.annotation.voc_editor import edit_objects
from tfod.annotation.voc_writer import write_voc
from tfod.errors import BadFilesError, UserError, quoted
from tfod.files import replacing_file
from tfod.image_files import find_images
from tfod.progress import Progress, silent, tracked

# The objects to keep, by their position in the file, and the new ones.
Edit = tuple[dict[int, Box], Sequence[Box]]
MAX_UNDO = 200  # changes per image that can be taken back


class ChangedError(UserError):
    """Another program has changed an annotation file since it was read."""


@dataclass(frozen=True)
class State:
    """What is known of an image without opening it.

    Attributes:
      labeled: it has an annotation file.
      classes: of its objects, with repetitions.
    """

    labeled: bool = False
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """The objects of one image.

    Attributes:
      width, height: in pixels, of the image on which the boxes are drawn.
      upright: that image is rotated according to its EXIF orientation. False only for boxes that
        another tool has drawn on the stored pixels.
      objects: the boxes by their position in the annotation file, from 0. Those that cannot be read
        are left out, and stay in the file.
      version: of the annotation file; empty if there is none.
      undo: number of changes that can be taken back.
      redo: number of changes that were taken back and can be made again.
      fault: why the objects cannot be edited; empty if they can.
    """

    width: int
    height: int
    upright: bool
    objects: dict[int, Box]
    version: str
    undo: int
    redo: int
    fault: str = ""


class LabelFolder:
    """Images, and one VOC file for each labeled one, with the name of the image and `.xml`.

    Several threads may use it.

    Attributes:
      images: sorted by path, unless they were listed in another order.
      names: of the images, relative to their folder, with slashes.
    """

    def __init__(
        self,
        folder: Path,
        annotations: Path | None = None,
        progress: Progress = silent,
        only: Sequence[str] | None = None,
    ) -> None:
        """Finds the images and reads all annotation files.

        Args:
          annotations: folder of the XML files; None for beside the images.
          only: names of the images to take, in this order; None for all.
          progress: called with the stage "reading"; counts images.

        Raises:
          UserError: there are no images, one in `only` is missing, or two images would have the
            same annotation file.
        """
        if not folder.is_dir():
            raise UserError(folder, "is not a folder", "Give a folder of images")
        self.path = folder
        self.images = tuple(find_images([folder]))
        if only is not None:
            self.images = tuple(_named(folder, self.images, only))
        relative = [path.relative_to(folder) for path in self.images]
        self.names = tuple(path.as_posix() for path in relative)
        root = folder if annotations is None else annotations
        self._files = [root / path.with_suffix(".xml") for path in relative]
        count, file = Counter(self._files).most_common(1)[0][::-1]
        if count > 1:
            what = f"would be the annotation file of {count} images"
            raise UserError(file, what, "Rename one of the images")
        self._lock = threading.Lock()
        self._headers: dict[int, images.Header] = {}
        self._undo: defaultdict[int, list[bytes | None]] = defaultdict(list)
        self._redo: defaultdict[int, list[bytes | None]] = defaultdict(list)
        self._written: dict[int, str] = {}  # the version of the last change
        numbers = range(len(self.images))
        self._states = [
            self._read_state(n) for n in tracked(numbers, progress, "reading", len(numbers))
        ]

    def __len__(self) -> int:
        return len(self.images)

    def state(self, number: int) -> State:
        """Returns the state of an image."""
        return self._states[number]

    def read(self, number: int) -> Content:
        """Returns the objects of an image.

        Raises:
          UserError: the image cannot be read.
        """
        return self._content(number, self._bytes(number))

    def header(self, number: int) -> images.Header:
        """Returns the properties of an image, which is read once.

        Raises:
          UserError: the image cannot be read.
        """
        if number not in self._headers:
            self._headers[number] = images.check_image(self.images[number], decode=False)
        return self._headers[number]

    def save(self, number: int, version: str, edit: Callable[[Content], Edit]) -> Content:
        """Writes the objects of an image.

        Objects of the file that are not kept are removed, except those that cannot be read. An
        image without any object is a negative image: it has an annotation file, too.

        Args:
          version: of the content that was edited.
          edit: returns the objects to keep, as they should be now, and those to add.

        Raises:
          ChangedError: the file has another version.
          UserError: the file cannot be written, or has a fault.
        """
        with self._lock:
            before = self._bytes(number)
            content = self._content(number, before)
            if content.version != version:
                raise self._changed(number)
            if content.fault:
                raise UserError(self._files[number], content.fault, "Correct the file first")
            kept, new = edit(content)
            file, image = self._files[number], self.images[number]
            if before is None:
                file.parent.mkdir(parents=True, exist_ok=True)
                with replacing_file(file) as partial:
                    write_voc(partial, image, (content.width, content.height), new)
            else:
                removed = content.objects.keys() - kept.keys()
                self._write(number, edit_objects(file, before, kept, removed, new))
            if self._bytes(number) != before:
                self._remember(number, before)
            return self._refresh(number)

    def undo(self, number: int) -> Content:
        """Takes the last change of an image back, and returns its objects.

        The file is then byte for byte what it was; a file that did not exist is removed.

        Raises:
          ChangedError: there is nothing to take back, or another program has changed the file.
        """
        return self._restore(number, self._undo[number], self._redo[number], "take back")

    def redo(self, number: int) -> Content:
        """Makes the last change again that was taken back, and returns the objects of the image.

        A new change forgets those that were taken back.

        Raises:
          ChangedError: there is nothing to make again, or another program has changed the file.
        """
        return self._restore(number, self._redo[number], self._undo[number], "make again")

    def _restore(
        self, number: int, source: list[bytes | None], target: list[bytes | None], what: str
    ) -> Content:
        """Writes the last state in `source`, and keeps the present one in `target`."""
        with self._lock:
            if not source:
                raise ChangedError(self.images[number], f"has no change to {what}", "Go on")
            present = self._bytes(number)
            if _version(present) != self._written[number]:
                raise self._changed(number)
            self._write(number, source[-1])
            source.pop()
            target.append(present)
            return self._refresh(number)

    def _remember(self, number: int, before: bytes | None) -> None:
        undo = self._undo[number]
        undo.append(before)
        del undo[:-MAX_UNDO]
        self._redo[number].clear()

    def _bytes(self, number: int) -> bytes | None:
        try:
            return self._files[number].read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, number: int, content: bytes | None) -> None:
        if content is None:
            self._files[number].unlink()
        else:
            with replacing_file(self._files[number]) as partial:
                partial.write_bytes(content)

    def _refresh(self, number: int) -> Content:
        content = self.read(number)
        classes = tuple(box.name for box in content.objects.values())
        self._states[number] = State(content.version != "", classes)
        self._written[number] = content.version
        return content

    def _changed(self, number: int) -> ChangedError:
        what = "was changed by another program"
        return ChangedError(self._files[number], what, "Press F5 to load it again")

    def _read_state(self, number: int) -> State:
        if not self._files[number].is_file():
            return State()
        try:
            objects = read_xml(self._files[number]).objects
        except BadFilesError:
            return State(labeled=True)
        return State(True, tuple(raw.box.name for raw in objects))

    def _content(self, number: int, data: bytes | None) -> Content:
        header = self.header(number)
        changes = len(self._undo[number]), len(self._redo[number])
        if data is None:
            return Content(*header.upright, True, {}, "", *changes)
        version = _version(data)
        try:
            raw = read_xml(self._files[number])
        except BadFilesError as error:
            fault = error.errors[0].what
            return Content(*header.upright, True, {}, version, *changes, fault)
        size, rotated = annotated_size(raw.size, header, None)
        upright = rotated or header.orientation == 1
        # "object 3" is the third one.
        objects = {int(item.label.split()[1]) - 1: item.box for item in raw.objects}
        fault = ""
        if raw.size and raw.size != size:
            fault = (
                f"was made for an image of {raw.size[0]:g} x {raw.size[1]:g} pixels, but it has "
                f"{size[0]} x {size[1]}"
            )
        return Content(*size, upright, objects, version, *changes, fault)


def _named(folder: Path, found: Sequence[Path], names: Sequence[str]) -> Iterator[Path]:
    """Yields the images with these names. Names cannot lead out of the folder."""
    by_name = {path.relative_to(folder).as_posix(): path for path in found}
    for name in dict.fromkeys(names):
        if name not in by_name:
            remedy = "Give the folder that the list was made for"
            raise UserError(folder, f"contains no image {quoted(name)}, which is listed", remedy)
        yield by_name[name]


def _version(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()
