"""The command line: registers the commands and prints errors."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tfod import interruption
from tfod.commands.adopt import adopt
from tfod.commands.compare import compare
from tfod.commands.convert import convert
from tfod.commands.evaluate import evaluate
from tfod.commands.export import export
from tfod.commands.frames import frames
from tfod.commands.inspect import inspect
from tfod.commands.label import label
from tfod.commands.live import live
from tfod.commands.next import next_
from tfod.commands.plan import plan
from tfod.commands.predict import predict
from tfod.commands.sample import sample
from tfod.commands.stored import with_stored_files
from tfod.commands.tables import shown
from tfod.commands.train import train
from tfod.commands.zoo import zoo
from tfod.errors import BadFilesError, UserError


class _Commands(click.Group):
    """Prints a UserError as one line and exits with 2; Ctrl-C exits with 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Not every terminal can show every character, and file names may not be Unicode.
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use, not sorted

    def invoke(self, ctx: click.Context):
        try:
            with _memory_errors():
                return super().invoke(ctx)
        except BadFilesError as error:
            for fault in error.errors:
                click.echo(f"tfod: {shown(str(fault))}", err=True)
            click.echo(f"tfod: {shown(str(error))}", err=True)
            sys.exit(2)
        except UserError as error:
            click.echo(f"tfod: {shown(str(error))}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo(interruption.MESSAGE, err=True)
            sys.exit(interruption.EXIT_CODE)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raises a UserError if Python or TensorFlow cannot allocate memory in this block."""
    try:
        yield
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")  # to import it would take seconds
        exhausted = tensorflow and isinstance(error, tensorflow.errors.ResourceExhaustedError)
        of_memory = re.search("OOM|memory|allocat", str(error))  # not of a full disk
        if not (exhausted and of_memory) and not isinstance(error, MemoryError):
            raise
        which = "GPU memory" if "GPU" in str(error) else "memory"
        remedy = "Stop other programs that use it, or use a smaller model or a larger machine"
        raise UserError(which, "is too small for this command", remedy) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfod")
def main() -> None:
    """Train your own object detector, and run it on phones, servers and in the browser.

    \b
    tfod sample    a synthetic data set          ->  images and annotations
    tfod frames    videos                        ->  images to annotate
    tfod label     images                        ->  annotations
    tfod next      images, exported_models/NAME  ->  which images to label next
    tfod convert   images and annotations        ->  data/NAME
    tfod adopt     TFRecord files of others      ->  data/NAME
    tfod inspect   data/NAME                     ->  statistics, and what to fix
    tfod zoo                                     ->  pretrained weights
    tfod plan      data/NAME                     ->  what train would choose, and why
    tfod train     data/NAME                     ->  runs/NAME
    tfod evaluate  runs/NAME                     ->  COCO metrics
    tfod compare   runs and exported models      ->  accuracy, size and speed
    tfod export    runs/NAME                     ->  exported_models/NAME (SavedModel, TFLite)
    tfod predict   exported_models/NAME, images  ->  images with boxes
    tfod live      exported_models/NAME          ->  a web page that uses the camera

    Files and folders can be in an object store: s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.
    """
    from tfod.quiet import quiet

    quiet()
    # Otherwise the first operation takes all memory of the GPU, and no other process can use it.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # A command that a notebook runs inherits the backend of the notebook's Matplotlib. Ours may not
    # have it, and then Matplotlib cannot be imported. Commands only write files.
    os.environ["MPLBACKEND"] = "agg"


for _command in (
    *(sample, frames, label, next_, convert, adopt, inspect, zoo, plan, train),
    *(evaluate, compare, export, predict, live),
):
    main.add_command(with_stored_files(_command))
