"""A local HTTP server of one file, with faults."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 2000


class Server(ThreadingHTTPServer):
    """Serves one file, ill in the ways listed, one a request, and well after that."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        super().__init__(("127.0.0.1", 0), Handler)
        self.ills: list[str] = []
        self.ranges: list[str | None] = []
        self.ranges_known = True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        ill = self.server.ills.pop(0) if self.server.ills else ""
        if ill.isdigit():
            self.send_error(int(ill))
            return
        start = int(wanted[6:-1]) if wanted and self.server.ranges_known else 0
        content = self.server.content
        if start >= len(content):
            self.send_error(416)
            return
        rest = content[start:]
        self.send_response(206 if start else 200)
        told = len(rest) + (1000 if ill == "says it is longer" else 0)
        if ill != "says no length":
            self.send_header("Content-Length", str(told))
        self.end_headers()
        if ill == "drops":
            self.wfile.write(rest[: len(rest) // 2])
            return
        if ill == "stalls":
            self.wfile.write(rest[:5000])
            time.sleep(1)
            return
        self.wfile.write(b"other" + rest[5:] if ill == "wrong" else rest)

    def log_message(self, *arguments) -> None:
        pass
