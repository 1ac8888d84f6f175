"""Sends requests to a server of a test."""

from __future__ import annotations

import json
import urllib.error
import urllib.request


def request(url: str, method: str = "GET", body=None, **headers: str) -> tuple[int, bytes, dict]:
    """Sends a request and returns the status, the body and the headers of the answer."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers, method=method), timeout=30
        ) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)
