"""The templates in `pipelines/`: complete `pipeline.config` files to start from."""

from __future__ import annotations

from pathlib import Path

from tfod.errors import UserError
from tfod.model.pipeline import CONFIG_NAME


def templates_folder() -> Path:
    """The `pipelines/` folder: inside the installed package, or at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "pipelines"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "pipelines"


def template_names() -> list[str]:
    """Names that `find_template` knows, sorted."""
    return sorted(path.parent.name for path in templates_folder().glob(f"*/{CONFIG_NAME}"))


def find_template(name: str) -> Path:
    """The config file of a template name, or the file itself where `name` is a path.

    Raises:
      UserError: it is neither.
    """
    packaged = templates_folder() / name / CONFIG_NAME
    if packaged.is_file():
        return packaged
    if Path(name).is_file():
        return Path(name)
    raise UserError(
        name,
        "is neither a template nor a file",
        f"Choose one of {', '.join(template_names())}, or name a pipeline.config",
    )
