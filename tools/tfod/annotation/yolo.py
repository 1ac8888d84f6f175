"""Reads YOLO labels, one text file per image, and their class names.

A line contains a class number from 0, then center x, center y, width and height as fractions of
the image size. In pose labels, keypoints follow; they are ignored. A polygon is the class number
followed by its points x, y; its bounding box is used.
"""

from __future__ import annotations

from pathlib import Path

from tfod.annotation import Box
from tfod.annotation.raw_annotation import RawAnnotation, RawBox, number, subfolder_of
from tfod.annotation.yolo_names import LabelFormat
from tfod.boxes import cxcywh_to_xyxy
from tfod.errors import BadFilesError, FileFault, quoted

MAX_BYTES = 4 << 20
# Text files that are not labels: lists of classes or images, and other files of an export.
NO_LABELS = frozenset({"classes", "labels", "train", "val", "valid", "test"})


def is_label_file(path: Path) -> bool:
    """Returns whether the name of a `.txt` file may be that of a label file."""
    name = path.stem.lower()
    return name not in NO_LABELS and not name.startswith("readme")


def read_labels(label_format: LabelFormat, root: Path, path: Path) -> RawAnnotation:
    """Reads the labels of one image, which has the same name without suffix.

    Args:
      root: the folder of all labels.

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
    names, keypoint_values = label_format.names, label_format.keypoint_values
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
        elif len(values) in (4, 4 + keypoint_values):
            objects.append(RawBox(label, Box(name, *cxcywh_to_xyxy(*values[:4]))))
        elif keypoint_values:
            what = f"{label} has {len(words)} values"
            remedy = f"Write class, x, y, width, height and {keypoint_values} values of keypoints"
            report("bad value", what, remedy)
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[0::2], values[1::2]
            objects.append(RawBox(label, Box(name, min(xs), min(ys), max(xs), max(ys))))
        else:
            what = f"{label} has {len(words)} values"
            report("bad value", what, "Write class, x, y, width, height")
    return RawAnnotation(
        source=path,
        filename="",
        objects=tuple(objects),
        other_stem=path.stem,
        subfolder=subfolder_of(path, root),
        normalized=True,
        faults=tuple(faults),
    )
