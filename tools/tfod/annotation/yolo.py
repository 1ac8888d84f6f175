"""Reads YOLO labels, one text file per image, and their class names.

A line contains a class number from 0, then center x, center y, width and height as fractions of
the image size. A polygon is the class number followed by its points x, y; its bounding box is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number
from tfod.boxes import cxcywh_to_xyxy
from tfod.errors import BadFilesError, FileFault, UserError, quoted

MAX_BYTES = 4 << 20  # of a label file or a file with class names
# Text files that are not labels: lists of classes or images, and other files of an export.
NO_LABELS = frozenset({"classes", "labels", "train", "val", "valid", "test"})


def is_label_file(path: Path) -> bool:
    """Returns whether the name of a `.txt` file may be that of a label file."""
    name = path.stem.lower()
    return name not in NO_LABELS and not name.startswith("readme")


def read_class_names(folder: Path) -> dict[int, str]:
    """Returns class names by number, from a file in `folder` or up to two folders above.

    The file is a YAML file with `names`, such as `data.yaml`, otherwise `classes.txt`, otherwise a
    `.names` file.

    Raises:
      UserError: there is no such file, it cannot be read, or several files differ.
    """
    remedy = "Put data.yaml or classes.txt next to the labels"
    folder = folder.resolve()
    for location in (folder, *list(folder.parents)[:2]):
        for pattern in ("*.y*ml", "classes.txt", "*.names"):
            by_file = {
                path: names for path in sorted(location.glob(pattern)) if (names := _names(path))
            }
            if len({tuple(names.items()) for names in by_file.values()}) > 1:
                files = " and ".join(path.name for path in by_file)
                raise UserError(location, f"has {files}, whose classes differ", "Keep one")
            if by_file:
                return next(iter(by_file.values()))
    raise UserError(folder, "contains YOLO labels but no class names", remedy)


def _names(path: Path) -> dict[int, str]:
    """Returns class names by number; an empty dict if a YAML file has no `names`."""
    import yaml  # rarely needed, and importing it takes a fifth of the time of a small conversion

    remedy = "List the names in the order of their numbers"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8-sig")
        if len(text) > MAX_BYTES:
            raise UserError(path, "is too large for class names", remedy)
        if path.suffix in (".txt", ".names"):
            content = {"names": [line.strip() for line in text.strip().splitlines()]}
        else:
            content = yaml.safe_load(text)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(path, f"cannot be read: {reason}", remedy) from error
    listed = content.get("names") if isinstance(content, dict) else None
    if listed is None:
        return {}
    if not isinstance(listed, dict | list):
        raise UserError(path, f"its 'names' is {quoted(str(listed))}, not a list", remedy)
    pairs = listed.items() if isinstance(listed, dict) else enumerate(listed)
    names = {key: " ".join(str(name).split()) for key, name in pairs}
    if not all(isinstance(key, int) and key >= 0 and name for key, name in names.items()):
        raise UserError(path, "has a class without a number or a name", remedy)
    return names


def read_labels(names: Mapping[int, str], root: Path, path: Path) -> RawAnnotation:
    """Reads the labels of one image, which has the same name without suffix.

    Args:
      names: class names by number.
      root: the label folder. If several images are named a, the labels `train/a.txt` belong to the
        one in `train` or `images/train`, and `labels/train/a.txt` to the one in `images/train`.

    Raises:
      BadFilesError: the file cannot be read. Faults of single lines are in the `faults`: "bad
        value", "bad coordinate", "unknown class".
    """
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(path, kind, what, remedy))

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            report("broken labels", f"is larger than {MAX_BYTES >> 20} MiB", "Give one label file")
        text = data.decode("utf-8-sig")
    except OSError as error:
        report("broken labels", f"cannot be read: {error.strerror}", "Check its permissions")
    except UnicodeDecodeError:
        report("broken labels", "is not a text file in UTF-8", "Export the labels again")
    if faults:
        raise BadFilesError(path, faults)
    objects = []
    for line_number, line in enumerate(text.splitlines(), 1):
        label, words = f"line {line_number}", line.split()
        if not words:
            continue
        class_number = number(words[0])
        values = [value for word in words[1:] if (value := number(word)) is not None]
        name = names.get(int(class_number)) if class_number is not None else None
        if class_number is None or name is None or class_number != int(class_number):
            what = f"{label} has the class {quoted(words[0])}, which has no name"
            report("unknown class", what, f"Use the numbers 0 to {max(names)}")
        elif len(values) + 1 < len(words):
            report("bad coordinate", f"{label} is {quoted(line)}", "Draw the box again")
        elif len(values) == 4:
            objects.append(RawBox(label, Box(name, *cxcywh_to_xyxy(*values))))
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[0::2], values[1::2]
            objects.append(RawBox(label, Box(name, min(xs), min(ys), max(xs), max(ys))))
        else:
            what = f"{label} has {len(words)} values"
            report("bad value", what, "Write class, x, y, width, height")
    subfolder = path.parent.relative_to(root).as_posix() if path.parent != root else ""
    # With labels/ and images/ next to each other, labels/train belongs to images/train.
    parts = subfolder.split("/")
    image_subfolder = "/".join("images" if part == "labels" else part for part in parts)
    return RawAnnotation(
        source=path,
        filename="",
        objects=tuple(objects),
        other_stem=path.stem,
        likely_folders=(subfolder, image_subfolder, f"images/{subfolder}".rstrip("/")),
        normalized=True,
        faults=tuple(faults),
    )
