"""Runs tfod in a process that can import apache_beam, see the fixture `beam_environment`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LOCAL = ["--runner", "DirectRunner"]
TWO_WORKERS = [
    *(*LOCAL, "--runner-option", "direct_num_workers=2"),
    *("--runner-option", "direct_running_mode=multi_processing"),
]


def tfod(
    environment: dict[str, str], folder: Path, *arguments: object
) -> subprocess.CompletedProcess:
    """Runs a command of tfod in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "tfod", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
