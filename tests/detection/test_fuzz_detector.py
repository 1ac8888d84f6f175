"""Models, label maps and pictures damaged at random are used or refused, and nothing crashes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

TOOLS = Path(__file__).parents[2] / "tools"
MUTANTS = 3400  # of each

# In a process of its own: LiteRT trusts its input, and a crash should fail one test only.
CODE = """
import sys
from pathlib import Path
import numpy as np
import tfod
from tfod.detection.detector import Detector
from tfod.errors import UserError
from tfod.dataset.label_map import read_label_map

kind, (source, picture, model), mutants = sys.argv[1], map(Path, sys.argv[2:5]), int(sys.argv[5])
content = source.read_bytes()
detector = Detector.load(model)
rng = np.random.default_rng(0)
target = source.with_name("mutant" + source.suffix)
used = 0
for number in range(mutants):
    changed = bytearray(content)
    # Every other one near the end, where the model's archive is.
    low = max(0, len(content) - 3000) if number % 2 else 0
    for at in rng.integers(low, len(content), rng.integers(1, 4)):
        changed[at] = rng.integers(256)
    if number % 10 == 0:
        changed = changed[: rng.integers(len(content))]
    target.write_bytes(changed)
    try:
        if kind == "model":
            Detector.load(target).predict(picture)
        elif kind == "label map":
            read_label_map(target)
        else:
            detector.predict(target)
        used += 1
    except UserError:
        pass
print(used)
"""


@pytest.mark.parametrize("kind", ["model", "label map", "picture"])
def test_damage_is_an_error_or_has_no_effect(kind, exported, sample_voc, tmp_path):
    picture = shutil.copy(sorted((sample_voc / "images").iterdir())[0], tmp_path / "scene.jpg")
    model = shutil.copy(exported / "model_int8.tflite", tmp_path / "model.tflite")
    labels = shutil.copy(exported / "label_map.pbtxt", tmp_path)
    source = {"model": model, "label map": labels, "picture": picture}[kind]
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind, source, picture, model, str(MUTANTS)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(TOOLS), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0 < int(done.stdout) < MUTANTS
