"""The TensorFlow 2 detection model zoo: where a template's COCO-trained checkpoint is."""

from __future__ import annotations

from pathlib import Path

from tfod.errors import UserError

ARCHIVES = "http://download.tensorflow.org/models/object_detection/tf2/20200711"


def not_yet(template: Path) -> UserError:
    """The error for `--init zoo`: fetching is not built yet; says how to do without."""
    archive = f"{template.parent.name}_coco17_tpu-8"
    return UserError(
        "--init zoo",
        "downloading from the model zoo is not built yet",
        f"Download {ARCHIVES}/{archive}.tar.gz, unpack it and give --init "
        f"{archive}/checkpoint/ckpt-0, or train from nothing with --init scratch",
    )
