"""`detection.json`: how to detect: input size, score threshold and tiles.

`tfod train` writes it into the run folder, `tfod export` into the export folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from tfod.errors import UserError
from tfod.files import replacing_file
from tfod.tiles import Tiles

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


def stored_tiles(path: Path) -> Tiles | None:
    """Returns the tiles of images in a JSON file with `tiles`; None without the file.

    Raises:
      UserError: the file is damaged.
    """
    tiles = _read(path).get("tiles")
    try:
        return None if tiles is None else Tiles(**tiles)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise _damaged(path) from error


def write_detection(path: Path, tiles: Tiles | None, **content: object) -> None:
    """Writes the file; deletes an earlier one if there is nothing to write.

    Args:
      content: `input_size` in pixels, `threshold`, and whatever explains them.
    """
    stored = {**content, **({"tiles": vars(tiles)} if tiles else {})}
    if not stored:
        path.unlink(missing_ok=True)
        return
    with replacing_file(path) as partial:
        partial.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


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
