"""Serves the page on which boxes are drawn, and its requests."""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import secrets
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tfod.errors import UserError
from tfod.labeling.folder import ChangedError
from tfod.labeling.site import LabelSite, RequestError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "style-src-attr 'unsafe-inline'; "  # Annotorious writes style attributes
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_BODY = 4 << 20


def serve(site: LabelSite, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves the page over HTTP until Ctrl-C.

    On a loopback address, only pages of this server may send requests. On other addresses, the URL
    contains a token that every request needs.

    Args:
      port: 0 for any free port.
      on_ready: called with the URL of the page.

    Raises:
      UserError: the server cannot listen on this host and port.
    """
    token = None if host in LOOPBACK else secrets.token_urlsafe(16)
    try:
        server = ThreadingHTTPServer((host, port), partial(Handler, site, token))
    except OSError as error:
        raise UserError(
            f"{host}:{port}", f"cannot be used: {error.strerror}", "Choose another --port"
        ) from error
    server.daemon_threads = True
    with server, contextlib.suppress(KeyboardInterrupt):
        query = "" if token is None else f"?token={token}"
        on_ready(f"http://{host}:{server.server_address[1]}/{query}")
        sys.stdout.flush()
        server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection.

    Args:
      token: that every request needs; None if only pages of this machine may send requests.
    """

    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, site: LabelSite, token: str | None, *arguments: Any) -> None:
        self.site, self.token = site, token
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *arguments: object) -> None:
        """Logs nothing: one line per request is of no use."""

    def _get(self, path: str) -> tuple[str, bytes]:
        if path == "/":
            path = "/index.html"
        if (name := path.removeprefix("/")) in self.site.files:
            return TYPES[Path(name).suffix], self.site.files[name]
        if path == "/api/images":
            return _json(self.site.overview())
        resource, number = self._resource(path, "images", "thumbnails", "objects", "suggestions")
        if resource == "images":
            return self.site.image(number)
        if resource == "thumbnails":
            return "image/jpeg", self.site.thumbnail(number)
        if resource == "objects":
            return _json(self.site.objects(number))
        return _json(self.site.suggestions(number))

    def _put(self, path: str) -> tuple[str, bytes]:
        _, number = self._resource(path, "objects")
        return _json(self.site.save(number, self._body()))

    def _post(self, path: str) -> tuple[str, bytes]:
        resource, number = self._resource(path, "undo", "redo")
        self._body()
        return _json(self.site.undo(number) if resource == "undo" else self.site.redo(number))

    def _resource(self, path: str, *names: str) -> tuple[str, int]:
        """Splits `/api/NAME/NUMBER` into one of the names and the number of an image."""
        match = re.fullmatch(r"/api/([a-z]+)/([0-9]{1,9})", path)
        if match is None or match[1] not in names or int(match[2]) >= len(self.site.folder):
            raise RequestError(HTTPStatus.NOT_FOUND, f"{path} not found")
        return match[1], int(match[2])

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "the request has no length")
        if int(length) > MAX_BODY:
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too long")
        data = self.rfile.read(int(length))
        try:
            return json.loads(data) if data else None
        except (ValueError, RecursionError) as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, "the request is not JSON") from error

    def _answer(self, answer: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            url = urlsplit(self.path)
            self._check_sender(url.query)
            kind, content = answer(url.path)
        except RequestError as error:
            self._refuse(error.status, str(error))
        except (ValueError, CookieError):  # of a URL, a host or a cookie
            self._refuse(HTTPStatus.BAD_REQUEST, "the request is not valid")
        except ChangedError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        except UserError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except OSError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error.strerror))
        else:
            self._send(HTTPStatus.OK, kind, content)

    def _check_sender(self, query: str) -> None:
        """Raises an error unless the request comes from a page of this server.

        The host protects from other pages whose name leads to this machine (DNS rebinding), the
        origin from other pages that send requests here.
        """
        host = self.headers.get("Host", "")
        if self.token is None and urlsplit(f"//{host}").hostname not in LOOPBACK:
            raise RequestError(HTTPStatus.FORBIDDEN, "this host is not allowed")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise RequestError(HTTPStatus.FORBIDDEN, "requests of other pages are not allowed")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise RequestError(HTTPStatus.FORBIDDEN, "requests of other pages are not allowed")
        if self.token is not None:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("token")
            given = parse_qs(query).get("token", [cookie.value if cookie else ""])[0]
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                raise RequestError(HTTPStatus.FORBIDDEN, "open the URL that tfod label printed")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        # A body that was not read would be taken for the next request.
        self.close_connection = True
        self._send(status, "text/plain; charset=utf-8", message.encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if self.token is not None and status == HTTPStatus.OK:
            cookie = f"token={self.token}; HttpOnly; SameSite=Strict; Path=/"
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the browser has gone on
            self.wfile.write(content)


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode()
