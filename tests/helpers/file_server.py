"""A local HTTP server that serves one file and can fail on purpose."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers.limits import scaled

CONTENT = bytes(range(256)) * 2000


class Server(ThreadingHTTPServer):
    """Serves one file on a free port.

    Attributes:
      failures: how the next requests fail, one entry per request: an HTTP status, "drops",
        "broken chunks", "stalls", "wrong", "no length" or "length too large". Later requests
        succeed.
      ranges: the Range header of each request so far.
      accepts_ranges: False ignores Range headers.
    """

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[str] = []
        self.ranges: list[str | None] = []
        self.accepts_ranges = True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        byte_range = self.headers.get("Range")
        self.server.ranges.append(byte_range)
        failure = self.server.failures.pop(0) if self.server.failures else ""
        if failure.isdigit():
            self.send_error(int(failure))
            return
        start = int(byte_range[6:-1]) if byte_range and self.server.accepts_ranges else 0
        content = self.server.content
        if start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        length = len(body) + (1000 if failure == "length too large" else 0)
        if failure == "broken chunks":
            self.send_header("Transfer-Encoding", "chunked")
        elif failure != "no length":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if failure == "broken chunks":
            self.wfile.write(b"%x\r\n" % len(body) + body[: len(body) // 2])
            return
        if failure == "drops":
            self.wfile.write(body[: len(body) // 2])
            return
        if failure == "stalls":
            self.wfile.write(body[:5000])
            time.sleep(scaled(1))
            return
        self.wfile.write(b"other" + body[5:] if failure == "wrong" else body)

    def log_message(self, *arguments) -> None:
        """Prints nothing."""
