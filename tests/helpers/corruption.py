"""Corrupts a file at random and uses it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"

# In a separate process: LiteRT does not validate its input, and a crash must not end pytest.
CODE = """
import sys
from pathlib import Path
import numpy as np
import tfod
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.dataset.label_map import read_label_map

kind, (source, image, model), mutants = sys.argv[1], map(Path, sys.argv[2:5]), int(sys.argv[5])
content = source.read_bytes()
detector = Detector.load(model)
rng = np.random.default_rng(0)
target = source.with_name("mutant" + source.suffix)
used = 0
for number in range(mutants):
    changed = bytearray(content)
    # Every second mutation is in the last 500 bytes: the archive of a model.
    low = max(0, len(content) - 500) if number % 2 else 0
    for position in rng.integers(low, len(content), rng.integers(1, 4)):
        changed[position] = rng.integers(256)
    if number % 10 == 0:
        changed = changed[: rng.integers(len(content))]
    target.write_bytes(changed)
    try:
        if kind == "model":
            Detector.load(target).predict(image)
        elif kind == "label map":
            read_label_map(target)
        else:
            detector.predict(target)
        used += 1
    except UserError:
        pass
print(used)
"""


def use_corrupted(kind: str, source: Path, image: Path, model: Path, count: int) -> int:
    """Corrupts a file in `count` ways, and loads it as a model, label map or image.

    Returns:
      How often it could be used. Any error but `UserError`, or a crash, fails.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind, source, image, model, str(count)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(TOOLS), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)
