"""Training (`tfod train`): the loop, the model and optimizer, the input, and the logs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__all__ = ["Evaluation", "RunSettings", "Step", "train"]

# Imported on first use: `tfod --help` imports the strategies and precisions from this package and
# would otherwise load NumPy and Pillow.
_MODULES = {
    "Evaluation": "events",
    "RunSettings": "settings",
    "Step": "events",
    "train": "trainer",
}

if TYPE_CHECKING:
    from tfod.training.events import Evaluation, Step
    from tfod.training.settings import RunSettings
    from tfod.training.trainer import train
else:  # hidden from mypy, which would take every name for Any

    def __getattr__(name: str):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
