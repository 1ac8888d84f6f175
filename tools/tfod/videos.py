"""Checks video files and reads their frames.

All commands use this reader, so that a frame has the same number and the same pixels in each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfod.errors import FileFault

if TYPE_CHECKING:  # importing it takes 0.2 s
    import av
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

SUFFIXES = frozenset(
    {
        *(".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".webm", ".wmv"),
    }
)
# FFmpeg's names of the formats behind these suffixes. Without this list it also shows text files as
# videos, and follows playlists to other files.
FORMATS = "asf,avi,matroska,mov,mpeg,mpegts"
MAX_PIXELS = 100_000_000  # per frame: 0.3 GB as RGB
THUMBNAIL = 64  # pixels
COMPLETE = 0.95  # of the frames or seconds in the header, which are not exact

NO_FRAME = "contains no frame that can be decoded"
CONVERT = "Convert it to MP4 with H.264"


@dataclass(frozen=True)
class Video:
    """A video file that can be read.

    Attributes:
      path: the file.
      frames: number of frames in its header: an estimate, 0 if it is unknown.
    """

    path: Path
    frames: int


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video. Only one thread at a time may use it: PyAV can hang otherwise.

    Attributes:
      number: counted from 0.
      seconds: time since the first frame. The frame rate of phones varies.
    """

    number: int
    seconds: float
    _decoded: av.VideoFrame
    _reformatter: VideoReformatter

    def rgb(self) -> np.ndarray:
        """Returns the pixels, uint8 `[H, W, 3]` RGB, upright."""
        pixels = self._reformatted(format="rgb24")
        # A phone stores the pixels as its sensor is mounted, and the rotation beside them.
        return np.ascontiguousarray(np.rot90(pixels, round(self._decoded.rotation / 90)))

    @functools.cached_property
    def thumbnail(self) -> np.ndarray:
        """The means of 64 x 64 blocks of the image, int16 `[64, 64]` gray; not rotated."""
        size = {"width": THUMBNAIL, "height": THUMBNAIL}
        return self._reformatted(format="gray", interpolation="AREA", **size).astype(np.int16)

    def _reformatted(self, **options: Any) -> np.ndarray:
        # More threads take longer to start than to convert a frame.
        return self._reformatter.reformat(self._decoded, threads=1, **options).to_ndarray()


def check_video(path: Path) -> Video:
    """Opens a video and decodes its first frame.

    Raises:
      FileFault: "video unreadable": the file does not exist, is not a video, or has no frame that
        FFmpeg can decode.
    """
    with _opened(path) as (container, stream):
        if any(frame is not None for frame in _decoded(container, stream)):
            frames = stream.frames or round(_duration(container, stream) / _frame_time(stream))
            return Video(path, max(frames, 0))
    raise _unreadable(path, NO_FRAME)


def read_frames(path: Path, on_fault: Callable[[FileFault], None] | None = None) -> Iterator[Frame]:
    """Yields the frames of a video in the order in which they are shown.

    Args:
      on_fault: called after the last frame if the video is damaged or ends early; None to raise
        the error.

    Raises:
      FileFault: "video unreadable", see `check_video`, or "video damaged".
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    number = damaged = 0
    start = seconds = 0.0
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        expected, duration = stream.frames, _duration(container, stream)
        frame_time = _frame_time(stream)
        for frame in _decoded(container, stream):
            if frame is None:
                damaged += number > 0  # a part of a longer video may start with such frames
                continue
            time = number * frame_time if frame.time is None else frame.time
            start = time if number == 0 else start
            seconds = time - start
            yield Frame(number, seconds, frame, reformatter)
            number += 1
    if number == 0:
        raise _unreadable(path, NO_FRAME)
    # Both: a trimmed MP4 has frames that are not shown, and the last frame may be a long one.
    has_fewer_frames = not expected or number < COMPLETE * expected
    end = seconds + frame_time
    if has_fewer_frames and end < COMPLETE * duration:
        what = f"ends after {end:.1f} of {duration:.1f} seconds"
        remedy = "Copy it again; the frames up to there were used"
    elif damaged:
        what = f"is damaged: {damaged} frame{'s' if damaged > 1 else ''} cannot be decoded"
        remedy = "Copy it again; the other frames were used"
    else:
        return
    fault = FileFault(path, "video damaged", what, remedy)
    if on_fault is None:
        raise fault
    on_fault(fault)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    import av
    from av.video.stream import VideoStream

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileFault(path, "video unreadable", what, "Give a video")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise FileFault(path, "video unreadable", what, "Check its permissions") from error
    if not start:
        raise FileFault(path, "video unreadable", "is empty", "Copy it again")
    # Titles and the like may not be Unicode. PyAV 19 always reads them, and has no such option.
    metadata: dict[str, Any] = {}
    if int(av.__version__.split(".")[0]) < 19:
        metadata["metadata_errors"] = "replace"
    try:
        container: InputContainer = av.open(
            f"file:{path}",  # otherwise a name such as a:b.mp4 is a URL
            options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            **metadata,
        )
    except av.FFmpegError as error:
        if start[4:] == b"ftyp":  # MP4, whose index is often at the end
            raise _incomplete(path) from error
        raise _unreadable(path, "cannot be opened as a video") from error
    with container:
        if not container.streams:
            raise _incomplete(path)
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise _unreadable(path, "contains no video")
        if stream.codec_context is None:
            raise _unreadable(path, "has a codec that is not supported")
        if stream.width * stream.height > MAX_PIXELS:
            raise _unreadable(path, f"has {stream.width} x {stream.height} pixels, too many")
        yield container, stream


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame | None]:
    """Yields all frames, and None instead of each that cannot be decoded completely."""
    import av

    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    yield None if frame.is_corrupt else frame
            except av.FFmpegError:
                yield None
    except av.FFmpegError:
        yield None


def _duration(container: InputContainer, stream: VideoStream) -> float:
    """Returns the seconds that the video should have; 0 if this is unknown."""
    if container.format.name == "avi":  # its duration is that of the frames that the file has
        return stream.frames * _frame_time(stream)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000


def _frame_time(stream: VideoStream) -> float:
    return float(1 / (stream.average_rate or 25))


def _unreadable(path: Path, what: str) -> FileFault:
    return FileFault(path, "video unreadable", what, CONVERT)


def _incomplete(path: Path) -> FileFault:
    return FileFault(path, "video unreadable", "is incomplete or damaged", "Copy it again")
