"""Finds the templates in `pipelines/`: complete `pipeline.config` files to start from."""

from __future__ import annotations

from pathlib import Path

from tfod.errors import UserError
from tfod.model.pipeline import CONFIG_NAME


def templates_folder() -> Path:
    """Returns `pipelines/`: in the installed package, or at the top of a source checkout."""
    installed = Path(__file__).parents[1] / "pipelines"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "pipelines"


def template_names() -> list[str]:
    """Returns the names that `find_template` accepts, sorted."""
    return sorted(path.parent.name for path in templates_folder().glob(f"*/{CONFIG_NAME}"))


def find_template(name: str) -> Path:
    """Returns the config file of a template.

    Args:
      name: the name of a template, or the path of a `pipeline.config` file.

    Raises:
      UserError: it is neither.
    """
    template = templates_folder() / name / CONFIG_NAME
    if template.is_file():
        return template
    if Path(name).is_file():
        return Path(name)
    raise UserError(
        name,
        "is neither a template nor a file",
        f"Choose one of {', '.join(template_names())}, or give a pipeline.config file",
    )
