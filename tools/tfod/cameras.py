"""Reads a camera in real time: whoever is slower than the camera gets its newest image only."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from tfod.errors import UserError
from tfod.videos import Frame

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

CLOSING = 0.1  # seconds between two looks at whether the reader has gone
FRAMES_PER_SECOND = 30  # of the numbers of frames, whatever the camera sends
# FFmpeg's device format, and its name of camera N, by `sys.platform`.
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none")}


def read_camera(
    number: int, on_fault: Callable[[UserError], None] | None = None
) -> Iterator[Frame]:
    """Yields the newest image of a camera, without an end.

    Images that arrive while the caller is busy are dropped, so that the images never get old.

    Args:
      number: of the camera, from 0.
      on_fault: called after the last image if the camera stops; None to raise the error.

    Yields:
      Frames whose `number` is their time in units of 1 / `FRAMES_PER_SECOND`: it has gaps.

    Raises:
      UserError: the camera cannot be opened, or stops and there is no `on_fault`.
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    newest: Queue[tuple[float, av.VideoFrame] | None] = Queue(maxsize=1)
    closed = threading.Event()

    def receive(container: InputContainer) -> None:
        with suppress(OSError):  # as FFmpeg's errors are
            for frame in container.decode(video=0):
                if closed.is_set():
                    return
                with suppress(Empty):
                    newest.get_nowait()
                newest.put((time.monotonic(), frame))
        while not closed.is_set():  # until the last image was taken
            with suppress(Full):
                newest.put(None, timeout=CLOSING)
                return

    with _opened(number) as container:
        receiver = threading.Thread(target=receive, args=[container], daemon=True)
        receiver.start()
        try:
            start = None
            while (item := newest.get()) is not None:
                arrived, decoded = item
                start = arrived if start is None else start
                seconds = arrived - start
                yield Frame(round(seconds * FRAMES_PER_SECOND), seconds, decoded, reformatter)
        finally:
            closed.set()
            receiver.join()  # before the container is closed
    fault = UserError(f"camera {number}", "sends no more images", "Connect it again")
    if on_fault is None:
        raise fault
    on_fault(fault)


@contextmanager
def _opened(number: int) -> Iterator[InputContainer]:
    import av

    if sys.platform not in DEVICES:
        raise UserError(f"camera {number}", "cannot be read on this system", "Use Linux or macOS")
    kind, name = DEVICES[sys.platform]
    try:
        container = av.open(name.format(number), format=kind)
    except (av.FFmpegError, ValueError) as error:
        remedy = "Connect it, close other programs that use it, or give another number"
        raise UserError(f"camera {number}", "cannot be opened", remedy) from error
    with container:
        yield container
