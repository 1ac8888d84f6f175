"""Lets every command take URLs of object stores where it takes paths, see `storage.mirror`."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tfod import interruption
from tfod.commands.tables import note
from tfod.errors import UserError
from tfod.progress import progress_bars
from tfod.storage.mirror import Mirror, is_url, urls_of_copies

OUTPUTS = ("output", "voc", "save_crops")  # parameters that name a folder to write
MIRRORS, RESULTS = "tfod.mirrors", "tfod.results"  # keys of click's `Context.meta`


class StoredPath(click.Path):
    """A path; or the URL of a file or folder in an object store, which becomes its local copy."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if ctx is None or not is_url(str(value)):
            return super().convert(value, param, ctx)
        mirror = Mirror.of(str(value), param is not None and param.name in OUTPUTS)
        ctx.meta.setdefault(MIRRORS, []).append(mirror)
        return self.coerce_path_result(str(mirror.path))


def with_stored_files(command: click.Command) -> click.Command:
    """Lets a command download its inputs before it runs, and upload its outputs after it.

    What it has given to `when_stored` is printed then.
    """
    callback = command.callback
    assert callback is not None
    # `train` resumes what is there; other commands without this option only add files.
    replaces = command.name != "train" and any(
        option.name == "overwrite" for option in command.params
    )

    def run(**arguments: Any) -> None:
        for mirror in _mirrors():
            # Otherwise all files would be downloaded before the command refuses to replace them.
            if mirror.is_output and replaces and not arguments["overwrite"] and mirror.exists():
                remedy = "Choose another URL, or add --overwrite"
                raise UserError(mirror.url, "already exists", remedy)
        for mirror in _mirrors():
            with progress_bars("B") as progress:
                mirror.pull(progress)
        try:
            callback(**arguments)
        except BaseException:
            # What is complete, such as a checkpoint. If this fails, the next command uploads it.
            with interruption.complete(), suppress(UserError):
                _finish()
            raise
        _finish()

    command.callback = run
    return command


def when_stored(print_result: Callable[..., None], *arguments: Any) -> None:
    """Calls a function when the outputs of the current command are uploaded, which may fail.

    Args:
      print_result: says that an output is written, such as `tables.say`. It is called at the end of
        the command, also if that ends with an error.
    """
    results = click.get_current_context().meta.setdefault(RESULTS, [])
    results.append((print_result, arguments))


def synchronize() -> None:
    """Uploads what the current command has written so far, and downloads what others have.

    Inputs stay as they were when the command started. An error is only printed: the next call tries
    again, and so does the end of the command.
    """
    try:
        for mirror in _mirrors():
            if mirror.is_output:
                mirror.push()
                mirror.pull()
    except UserError as error:
        note(str(error))


def update_copy(copy: Path) -> None:
    """Updates a local copy that a file names, such as the data set of a run.

    Args:
      copy: other paths are left alone.

    Raises:
      UserError: the store cannot be read.
    """
    url = urls_of_copies(str(copy))
    if is_url(url):
        with progress_bars("B") as progress:
            Mirror.of(url).pull(progress)


def _finish() -> None:
    """Uploads the outputs, and then prints what waits for that."""
    for mirror in _mirrors():
        with progress_bars("B") as progress:
            mirror.push(progress)
    for print_result, arguments in click.get_current_context().meta.pop(RESULTS, ()):
        print_result(*arguments)


def _mirrors() -> list[Mirror]:
    return click.get_current_context().meta.get(MIRRORS, [])
