"""Serves a video as a network camera does: RTSP with RTP packets in the same TCP connection."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import av
import numpy as np

RATE = 25
PACKET = 7 * 188  # bytes of MPEG-TS in an RTP packet
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"


def transport_stream(frames: int) -> bytes:
    """Returns a gray video of 64 x 48 pixels as MPEG-TS."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.full((48, 64, 3), 40 + number % 150, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return buffer.getvalue()


@contextmanager
def rtsp_camera(seconds: float) -> Iterator[tuple[str, list[str]]]:
    """A camera whose connection is cut after some seconds, and that then accepts the next one.

    Yields:
      Its URL, and the requests that it got.
    """
    content, requests = transport_stream(round(seconds * RATE)), []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):  # the listener or the client is gone
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    _answer(connection, content, seconds, requests)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"rtsp://user:secret@127.0.0.1:{listener.getsockname()[1]}/live", requests
    finally:
        listener.close()


def _answer(connection: socket.socket, content: bytes, seconds: float, requests: list[str]) -> None:
    received = ""
    while data := connection.recv(4096).decode():
        received += data
        while "\r\n\r\n" in received:
            request, _, received = received.partition("\r\n\r\n")
            requests.append(request)
            method, number = request.split()[0], request.split("CSeq:")[1].split()[0]
            headers, body = "Session: 1\r\n", ""
            if method == "DESCRIBE":
                headers, body = "Content-Type: application/sdp\r\n", SDP
            elif method == "SETUP":
                headers += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            reply = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{headers}"
            reply += f"Content-Length: {len(body)}\r\n\r\n{body}"
            connection.sendall(reply.encode())
            if method == "PLAY":
                _play(connection, content, seconds)
                return


def _play(connection: socket.socket, content: bytes, seconds: float) -> None:
    start = time.monotonic()
    for number, offset in enumerate(range(0, len(content), PACKET)):
        due = seconds * offset / len(content)
        time.sleep(max(0, start + due - time.monotonic()))
        payload = content[offset : offset + PACKET]
        header = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, round(due * 90_000), 1)
        packet = header + payload
        connection.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
