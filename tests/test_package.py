"""Tests that an installed package has everything that a checkout has."""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest requires it

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def folders() -> dict[str, Path]:
    """Returns the folders that the list in pyproject.toml must have, by package name."""
    tools = ROOT / "tools"
    found = {
        ".".join(path.parent.relative_to(tools).parts): path.parent
        for path in tools.glob("tfod/**/__init__.py")
    }
    return {**found, "tfod.pipelines": ROOT / "pipelines"}


def test_all_packages_are_listed():
    assert SETUPTOOLS["packages"] == sorted(folders())


def test_all_files_that_the_packages_read_are_listed():
    patterns = SETUPTOOLS["package-data"]
    missing = [
        str(path)
        for name, folder in folders().items()
        for path in folder.glob("**/*")
        if name not in ("tfod", "tfod.pipelines")
        if path.is_file() and path.suffix not in (".py", ".pyc")
        if not any(
            fnmatch(path.relative_to(folder).as_posix(), pattern)
            for pattern in patterns.get(name, ())
        )
    ]
    assert not missing
