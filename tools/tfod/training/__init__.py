"""Training (`tfod train`): the loop, the model and optimizer, the input, and the logs."""

from __future__ import annotations

import importlib

__all__ = ["Evaluation", "RunSettings", "Step", "train"]

# Imported on first use: `tfod --help` imports the strategies and precisions from this package and
# would otherwise load NumPy and Pillow.
_MODULES = {
    "Evaluation": "events",
    "RunSettings": "settings",
    "Step": "events",
    "train": "trainer",
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
