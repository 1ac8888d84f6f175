"""Reads a camera in real time: whoever is slower than the camera gets its newest image only."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfod.errors import UserError
from tfod.videos import Frame

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

CLOSING = 0.1  # seconds between two looks at whether the reader has gone
FRAMES_PER_SECOND = 30  # of the numbers of frames, whatever the camera sends
# FFmpeg's device format, and its name of camera N, by `sys.platform`.
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none")}
URL = re.compile(r"(rtsps?|https?)://.+", re.IGNORECASE)
# What cameras send. Without these lists, a stream could name files of this machine.
STREAM_OPTIONS = {
    "format_whitelist": "rtsp,rtp,mpegts,mpjpeg,flv",
    "protocol_whitelist": "rtp,udp,tcp,tls,http,https,httpproxy",
    "rtsp_transport": "tcp",  # UDP loses packets, and many networks block it
}
TIMEOUT = 10.0  # seconds without data until a connection counts as lost
LONGEST_WAIT = 30.0  # seconds between two attempts to connect again; the first is after one


def is_url(text: str) -> bool:
    """Whether this is the address of a network camera."""
    return URL.fullmatch(text) is not None


def camera_name(camera: int | str) -> str:
    """Returns the name of a camera for files: "camera_0", or the address in its URL."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", _title(camera)).strip("_")


def _title(camera: int | str) -> str:
    """Returns the name of a camera for messages: without the password in its URL."""
    if isinstance(camera, int):
        return f"camera {camera}"
    parts = urlsplit(camera)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def read_camera(
    camera: int | str,
    on_fault: Callable[[UserError], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """Yields the newest image of a camera, without an end.

    Images that arrive while the caller is busy are dropped, so that the images never get old. A
    network camera whose connection is lost is connected again, until the caller stops.

    Args:
      camera: the number of a camera of this machine, from 0; or the URL of a network camera: RTSP,
        or Motion JPEG over HTTP.
      on_fault: called after the last image if a camera of this machine stops; None to raise the
        error.
      on_note: called with a sentence, in another thread, when a connection is lost.

    Yields:
      Frames whose `number` is their time in units of 1 / `FRAMES_PER_SECOND`: it has gaps.

    Raises:
      UserError: the camera cannot be opened, or stops and there is no `on_fault`.
    """
    import av
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    newest: Queue[tuple[float, av.VideoFrame] | None] = Queue(maxsize=1)
    closed = threading.Event()

    def receive(container: InputContainer | None) -> None:
        while container is not None:
            with container, suppress(av.FFmpegError):
                for frame in container.decode(video=0):
                    if closed.is_set():
                        return
                    with suppress(Empty):
                        newest.get_nowait()
                    newest.put((time.monotonic(), frame))
            container = None
            if isinstance(camera, str) and not closed.is_set():
                if on_note is not None:
                    on_note(f"{_title(camera)}: the connection is lost; connecting again")
                container = _connect_again(camera, closed)
        while not closed.is_set():  # until the last image was taken
            with suppress(Full):
                newest.put(None, timeout=CLOSING)
                return

    receiver = threading.Thread(target=receive, args=[_open(camera)], daemon=True)
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
        receiver.join()  # it closes the camera
    fault = UserError(_title(camera), "sends no more images", "Connect it again")
    if on_fault is None:
        raise fault
    on_fault(fault)


def _connect_again(url: str, closed: threading.Event) -> InputContainer | None:
    """Tries to open a stream until it succeeds; None if the reader has gone."""
    wait = 1.0
    while not closed.wait(wait):
        with suppress(UserError):
            return _open(url)
        wait = min(2 * wait, LONGEST_WAIT)
    return None


def _open(camera: int | str) -> InputContainer:
    import av

    name = _title(camera)
    address, options = str(camera), dict[str, Any]()
    if isinstance(camera, int):
        if sys.platform not in DEVICES:
            raise UserError(name, "cannot be read on this system", "Use Linux or macOS")
        kind, device = DEVICES[sys.platform]
        address, options = device.format(camera), {"format": kind}
        remedy = "Connect it, close other programs that use it, or give another number"
    else:
        options = {"options": STREAM_OPTIONS, "timeout": TIMEOUT}
        remedy = "Check its address, user name and password, for example in VLC"
    try:
        container = av.open(address, **options)
    except (av.FFmpegError, ValueError) as error:
        raise UserError(name, "cannot be opened", remedy) from error
    if not container.streams.video:
        container.close()
        raise UserError(name, "sends no video", remedy)
    return container
