"""`detection.json`: the input size and the score threshold that were best on the val split.

`tfod train --pipeline auto` writes it into the run folder, `tfod export` into the export folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from tfod.errors import UserError

DETECTION_NAME = "detection.json"
MAX_INPUT_SIZE = 10_000  # pixels
DEFAULT_THRESHOLD = 0.5  # of a model that was never evaluated


def stored_threshold(path: Path) -> float | None:
    """Returns the score threshold in a JSON file with `threshold`; None without the file.

    Raises:
      UserError: the file is damaged.
    """
    threshold = _read(path).get("threshold")
    if threshold is None or (isinstance(threshold, int | float) and 0 <= threshold <= 1):
        return threshold
    raise _damaged(path)


def stored_input_size(path: Path) -> int | None:
    """Returns the input size in pixels in a JSON file with `input_size`; None without the file.

    Raises:
      UserError: the file is damaged.
    """
    size = _read(path).get("input_size")
    if size is None or (isinstance(size, int) and 0 < size <= MAX_INPUT_SIZE):
        return size
    raise _damaged(path)


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UserError:
    return UserError(path, "is damaged", "Delete it: the defaults are used without it")
