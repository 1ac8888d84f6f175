"""A local S3 server (moto), and a proxy before it that can fail on purpose."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import tfod
from helpers.http_client import request
from helpers.limits import scaled

PACKAGES = ("s3fs", "moto[s3]", "flask", "flask-cors")
STALL = 4  # seconds, longer than the timeout in `Store.environment`
# The server does not check the signature.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=user/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=0"
)
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class Store:
    """An S3 server with one empty bucket, `bucket`.

    Attributes:
      proxy: forwards all requests of tfod.
    """

    def __init__(self, packages: Path) -> None:
        self._packages = packages
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
            env={**os.environ, "PYTHONPATH": str(packages)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()
        self._request("PUT", "", b"")
        self.proxy = Proxy(self._port)

    def put(self, key: str, content: bytes) -> None:
        self._request("PUT", key, content)

    def put_folder(self, prefix: str, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, key: str) -> None:
        self._request("DELETE", key)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Returns the files under a prefix, by their names below it."""
        listing = ElementTree.fromstring(self._request("GET", f"?list-type=2&prefix={prefix}"))
        keys = [element.text or "" for element in listing.iter() if element.tag.endswith("}Key")]
        return {key.removeprefix(prefix): self._request("GET", quote(key)) for key in keys}

    def environment(self, cache: Path) -> dict[str, str]:
        """Returns the environment variables of a process on a machine with its own cache."""
        paths = (Path(tfod.__file__).parents[1], Path(__file__).parents[1], self._packages)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "XDG_CACHE_HOME": str(cache),
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": "password",
            "AWS_DEFAULT_REGION": "us-east-1",
            "FSSPEC_S3": '{"config_kwargs": {"read_timeout": 2, "retries": {"max_attempts": 1}}}',
        }

    def start(self, cache: Path, *arguments: object, **variables: str) -> subprocess.Popen:
        """Starts a command of tfod on a machine with its own cache."""
        return subprocess.Popen(
            [sys.executable, "-m", "tfod", *map(str, arguments)],
            cwd=cache.parent,
            env={**self.environment(cache), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, cache: Path, *arguments: object) -> tuple[int, str, str]:
        """Runs a command, and returns its exit code and what it has printed."""
        process = self.start(cache, *arguments)
        output, errors = process.communicate(timeout=scaled(300))
        return process.returncode, output, errors

    def close(self) -> None:
        self.proxy.shutdown()
        self.proxy.server_close()
        self._server.kill()
        self._server.wait()

    def _request(self, method: str, key: str, content: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self._port}/bucket/{key}"
        headers = {
            "Content-Type": "application/octet-stream",  # moto waits forever if it is a form
            "Authorization": AUTHORIZATION,
        }
        status, body, _ = request(url, method, content, **headers)
        assert status < 300, body
        return body

    def _wait(self) -> None:
        end = time.monotonic() + scaled(30)
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self._port)).close()
            except OSError:
                assert time.monotonic() < end and self._server.poll() is None
                time.sleep(0.05)


class Proxy(ThreadingHTTPServer):
    """Forwards requests to a port of this machine.

    Attributes:
      faults: how the next answers with the content of a file fail, one entry per request: "503",
        "cut" in the middle of the content, or "stall". Later requests succeed.
      failing: methods of requests that always fail with 503.
      delay: seconds before each answer with the content of a file.
      downloads, uploads: the paths of the files that were sent completely.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.faults: list[str] = []
        self.failing: tuple[str, ...] = ()
        self.delay = 0.0
        self.downloads: list[str] = []
        self.uploads: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_download = self.command == "GET" and "?" not in self.path
        fault = self.server.faults.pop(0) if is_download and self.server.faults else ""
        if fault == "stall":
            time.sleep(STALL)
        if fault == "503" or self.command in self.server.failing:
            return self._answer(503, [], SLOW_DOWN)
        if is_download:
            time.sleep(self.server.delay)
        with closing(HTTPConnection("127.0.0.1", self.server.port)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
        headers = [(k, v) for k, v in response.getheaders() if k != "Content-Length"]
        if self.command == "HEAD":
            headers.append(("Content-Length", response.getheader("Content-Length", "0")))
        if fault == "cut":
            self._answer(response.status, headers, content, len(content) // 2)
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        self._answer(response.status, headers, content)
        if is_download:
            self.server.downloads.append(self.path)
        if self.command == "PUT":
            self.server.uploads.append(self.path)
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, sent: int | None = None
    ) -> None:
        try:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:sent])
        except OSError:
            self.close_connection = True  # tfod has gone: it was killed, or waits no longer

    def log_message(self, *arguments: object) -> None:
        """Logs nothing."""
