"""`tfod frames`: writes frames of videos as images to annotate."""

from __future__ import annotations

from pathlib import Path

import click

from tfod.commands.options import PATH
from tfod.commands.stored import when_stored
from tfod.commands.tables import note, say
from tfod.errors import BadFilesError, UserError
from tfod.progress import progress_bars


@click.command()
@click.option(
    "--output",
    type=PATH,
    required=True,
    help="Folder for the images. They are added to those that it contains.",
)
@click.option(
    "--every",
    metavar="TIME|N",
    help="Write a frame per interval, such as 0.5s, or every Nth frame.  [default: 1s]",
)
@click.option(
    "--scenes", is_flag=True, help="Write the first frame of each scene of an edited video."
)
@click.option(
    "--keep-similar", is_flag=True, help="Also write frames that look like the last written one."
)
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="VIDEO|DIR...")
def frames(
    inputs: tuple[Path, ...], output: Path, every: str | None, scenes: bool, keep_similar: bool
) -> None:
    """Write frames of videos as images, to draw boxes on.

    The files are named NAME_000123.jpg: name of the video and number of the frame. To see your
    objects in many places, film several short videos.

    \b
    Example:
      tfod frames street.mp4 holidays/ --output signs/images --every 0.5s
    """
    from tfod.frames import write_frames

    if scenes and every is not None:
        raise UserError("--scenes", "cannot be combined with --every", "Give one of the two")
    with progress_bars("frame") as progress:
        counts = write_frames(inputs, output, every or "1s", scenes, keep_similar, progress)
    if counts.similar:
        left_out = _count(counts.similar, "frame")
        note(f"{left_out} left out: nearly equal to the last written one; see --keep-similar")
    written, videos = _count(counts.written, "frame"), _count(counts.videos, "video")
    when_stored(say, f"written: {written} of {videos} in {output}")
    when_stored(
        say,
        r"Convert them with --group-by '^(.*)_\d+', to keep the frames of a video in one split. "
        "Otherwise the AP will be too high.",
    )
    if len(counts.faults) == 1:
        raise counts.faults[0]
    if counts.faults:
        remedy = "Copy them again, or use the frames that were written"
        raise BadFilesError("videos", counts.faults, remedy)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
