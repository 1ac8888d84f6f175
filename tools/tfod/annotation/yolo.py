"""YOLO labels, a text file a picture -> `RawAnnotation`; and their class names.

A line is a class number from 0, then centre x, centre y, width and height as shares of the
picture's size; or, where a polygon was drawn, the number and its corners x, y.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number
from tfod.boxes import cxcywh_to_xyxy
from tfod.errors import BadFilesError, FileFault, UserError, quoted

MAX_BYTES = 4 << 20  # of a label file or of the file with the class names
# Text files that are no labels: lists of classes or pictures, and what comes with an export.
NO_LABELS = frozenset({"classes", "labels", "train", "val", "valid", "test"})


def is_label_file(path: Path) -> bool:
    """Whether a `.txt` file is one picture's labels, by its name."""
    name = path.stem.lower()
    return name not in NO_LABELS and not name.startswith("readme")


def read_class_names(folder: Path) -> dict[int, str]:
    """Class names by number, from the file that lies in `folder` or up to two folders above.

    That is a YAML file such as `data.yaml` with `names`, else `classes.txt`, else a `.names` file.

    Raises:
      UserError: there is none, or it cannot be used, or there are several that differ.
    """
    remedy = "Put data.yaml or classes.txt beside the labels"
    folder = folder.resolve()
    for place in (folder, *list(folder.parents)[:2]):
        for pattern in ("*.y*ml", "classes.txt", "*.names"):
            found = {path: names for path in sorted(place.glob(pattern)) if (names := _names(path))}
            if len({tuple(names.items()) for names in found.values()}) > 1:
                files = " and ".join(path.name for path in found)
                raise UserError(place, f"has {files}, whose classes differ", "Keep one")
            if found:
                return next(iter(found.values()))
    raise UserError(folder, "holds YOLO labels, and nothing says what the classes are", remedy)


def _names(path: Path) -> dict[int, str]:
    """Class names by number; none where a YAML file is about something else."""
    import yaml  # takes a fifth of the time of a small conversion to load, and is seldom needed

    remedy = "Give the names in the order of their numbers"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8-sig")
        if len(text) > MAX_BYTES:
            raise UserError(path, "is too large for class names", remedy)
        if path.suffix in (".txt", ".names"):
            listed = [line.strip() for line in text.strip().splitlines()]
        else:
            content = yaml.safe_load(text)
            listed = content.get("names") if isinstance(content, dict) else None
            if listed is None:
                return {}
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(path, f"cannot be read: {reason}", remedy) from error
    pairs = listed.items() if isinstance(listed, dict) else enumerate(listed or ())
    names = {key: " ".join(str(name).split()) for key, name in pairs}
    if not all(isinstance(key, int) and key >= 0 and name for key, name in names.items()):
        raise UserError(path, "has a class without number or name", remedy)
    return names


def read_labels(names: Mapping[int, str], root: Path, path: Path) -> RawAnnotation:
    """Reads the labels of one picture, which has the same name.

    Args:
      names: class names by number.
      root: the folder of labels. Of several pictures called a, `train/a.txt` means the one in
        `train` or `images/train`, and `labels/train/a.txt` that in `images/train`.

    Raises:
      BadFilesError: it cannot be read. What is wrong with a line is in the `faults`: "bad value",
        "bad coordinate", "unknown class".
    """
    faults: list[FileFault] = []

    def report(kind: str, what: str, remedy: str) -> None:
        faults.append(FileFault(path, kind, what, remedy))

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            report("broken labels", f"larger than {MAX_BYTES >> 20} MiB", "Give one label file")
        text = data.decode("utf-8-sig")
    except OSError as error:
        report("broken labels", f"cannot be read: {error.strerror}", "Check its permissions")
    except UnicodeDecodeError:
        report("broken labels", "is no text of UTF-8", "Export the labels again")
    if faults:
        raise BadFilesError(path, faults)
    objects = []
    for count, line in enumerate(text.splitlines(), 1):
        label, words = f"line {count}", line.split()
        if not words:
            continue
        values = [number(word) for word in words]
        name = names.get(int(values[0])) if values[0] is not None else None
        if name is None or values[0] != int(values[0]):
            what = f"{label} is of class {quoted(words[0])}, which has no name"
            report("unknown class", what, f"Use the numbers 0 to {max(names)}")
        elif None in values:
            report("bad coordinate", f"{label} is {quoted(line)}", "Draw the box again")
        elif len(values) == 5:
            objects.append(RawBox(label, Box(name, *cxcywh_to_xyxy(*values[1:]))))
        elif len(values) >= 7 and len(values) % 2:
            across, down = values[1::2], values[2::2]
            corners = (min(across), min(down), max(across), max(down))
            objects.append(RawBox(label, Box(name, *corners)))
        else:
            what = f"{label} has {len(values)} values"
            report("bad value", what, "Write class, x, y, width, height")
    subfolder = path.parent.relative_to(root).as_posix() if path.parent != root else ""
    # Where labels/ and images/ lie side by side, the one may be taken for the other.
    swapped = "/".join("images" if part == "labels" else part for part in subfolder.split("/"))
    return RawAnnotation(
        source=path,
        filename="",
        objects=tuple(objects),
        other_stem=path.stem,
        beside=(subfolder, swapped, f"images/{subfolder}"),
        normalized=True,
        faults=tuple(faults),
    )
