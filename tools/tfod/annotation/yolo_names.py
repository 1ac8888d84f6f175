"""Reads the class names of YOLO labels from `data.yaml`, `classes.txt` or a `.names` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError, quoted

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1 << 20  # 20,000 names take half of it
REMEDY = "List the names in the order of their numbers"


@dataclass(frozen=True)
class LabelFormat:
    """What the numbers in label files mean.

    Attributes:
      names: class names by number.
      keypoint_values: number of values after each box of a pose label; 0 if there are no poses.
    """

    names: Mapping[int, str]
    keypoint_values: int = 0


def read_label_format(folder: Path) -> LabelFormat:
    """Reads a file in `folder` or up to two folders above.

    The file is a YAML file with `names`, such as `data.yaml`, otherwise `classes.txt`, otherwise a
    `.names` file.

    Raises:
      UserError: there is no such file, it cannot be read, or several files differ.
    """
    remedy = "Put data.yaml or classes.txt next to the labels"
    folder = folder.resolve()
    for location in (folder, *list(folder.parents)[:2]):
        for pattern in ("*.y*ml", "classes.txt", "*.names"):
            paths = sorted(location.glob(pattern))
            by_file = {path: found for path in paths if (found := _read_file(path))}
            first, *others = by_file.values() or [None]
            if any(other != first for other in others):
                files = " and ".join(path.name for path in by_file)
                raise UserError(location, f"has {files}, whose classes differ", "Keep one")
            if first:
                return first
    raise UserError(folder, "contains YOLO labels but no class names", remedy)


def _read_file(path: Path) -> LabelFormat | None:
    """Returns None if a YAML file has no `names`, or a text file is empty."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", REMEDY) from error
    except UnicodeDecodeError as error:
        raise UserError(path, f"cannot be read: {error}", REMEDY) from error
    if len(data) > MAX_BYTES:
        raise UserError(path, "is too large for class names", REMEDY)
    if path.suffix not in (".txt", ".names"):
        return _parse_yaml(path, text)
    lines = text.strip().splitlines()
    return LabelFormat(_names(path, list(map(str, range(len(lines)))), lines)) if lines else None


def _names(path: Path, numbers: Sequence[str], texts: Sequence[str]) -> dict[int, str]:
    names = {
        int(number): " ".join(text.split())
        for number, text in zip(numbers, texts, strict=True)
        if _is_number(number)
    }
    if len(names) < len(numbers) or not all(names.values()):
        raise UserError(path, "has a class without a number or a name", REMEDY)
    return names


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10  # Python refuses to convert very long ones


def _parse_yaml(path: Path, text: str) -> LabelFormat | None:
    """Reads `names` and `kpt_shape`.

    Only the nodes of the YAML file are read, not their values. So a name is the text that was
    written, while YAML 1.1 reads `off` as False and `030` as 24, and an alias takes no memory.
    """
    import yaml  # rarely needed, and importing it takes a fifth of the time of a small conversion

    try:
        # The parser in C limits the depth, and is ten times as fast.
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(path, f"cannot be read: {reason}", REMEDY) from error
    if not isinstance(root, yaml.MappingNode):
        return None
    entries = {_text(key): value for key, value in root.value}
    listed = entries.get("names")
    if listed is None:
        return None
    if isinstance(listed, yaml.SequenceNode):
        numbers = list(map(str, range(len(listed.value))))
        names = _names(path, numbers, list(map(_text, listed.value)))
    elif isinstance(listed, yaml.MappingNode):
        keys, values = zip(*listed.value, strict=True) if listed.value else ((), ())
        names = _names(path, list(map(_text, keys)), list(map(_text, values)))
    else:
        raise UserError(path, f"its 'names' is {quoted(_text(listed))}, not a list", REMEDY)
    if not names:
        raise UserError(path, "its 'names' is empty", REMEDY)
    return LabelFormat(names, _keypoint_values(path, entries.get("kpt_shape")))


def _text(node: yaml.Node) -> str:
    """Returns the text of a node; an empty text for lists and mappings."""
    return node.value if isinstance(node.value, str) else ""


def _keypoint_values(path: Path, shape: yaml.Node | None) -> int:
    """Returns the number of values of all keypoints; `kpt_shape` is their count and 2 or 3."""
    if shape is None:
        return 0
    sides = [_text(node) for node in shape.value] if isinstance(shape.value, list) else []
    if len(sides) != 2 or not _is_number(sides[0]) or sides[1] not in ("2", "3"):
        what = "its 'kpt_shape' is not a number of keypoints and 2 or 3"
        raise UserError(path, what, "Correct it, for example to [17, 3]")
    return int(sides[0]) * int(sides[1])
