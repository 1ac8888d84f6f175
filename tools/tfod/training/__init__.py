"""The training loop, what learns in it, and what it writes (`tfod train`)."""

from __future__ import annotations

import importlib

__all__ = ["Evaluation", "RunSettings", "Step", "train"]

# Loaded at first use: `tfod --help` lists the strategies and precisions of this package, and
# would otherwise wait for NumPy and Pillow.
_HOMES = {
    "Evaluation": "events",
    "RunSettings": "settings",
    "Step": "events",
    "train": "trainer",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
