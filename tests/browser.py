"""Controls headless Chromium over its DevTools pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.limits import scaled

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page:
    """A browser tab. `send` sends a DevTools command, `value` evaluates JavaScript."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._number, self._session = 0, {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters) -> dict:
        response = self._response(method, **parameters)
        assert "error" not in response, response["error"]
        return response["result"]

    def _response(self, method: str, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            response = self._next()
            if response.get("id") == self._number:
                return response

    def _next(self) -> dict:
        content = bytearray()
        while not content.endswith(b"\0"):
            content += os.read(self._from, 1)
        return json.loads(content[:-1])

    def value(self, script: str):
        response = self._evaluate(script)
        assert "error" not in response, response["error"]
        assert "exceptionDetails" not in response["result"], response["result"]
        return response["result"]["result"].get("value")

    def _evaluate(self, script: str) -> dict:
        options = {"returnByValue": True, "awaitPromise": True}
        return self._response("Runtime.evaluate", expression=script, **options)

    def wait_for(self, script: str, seconds: float = 60):
        """Evaluates `script` until its value is truthy, and returns that value.

        Exceptions count as no value: during navigation there may be no page or no body.

        Raises:
          TimeoutError: after `seconds`, see `helpers.limits.scaled`.
        """
        deadline = time.monotonic() + scaled(seconds)
        while True:
            response = self._evaluate(script)
            result = response.get("result", {})
            if "exceptionDetails" not in result and (
                value := result.get("result", {}).get("value")
            ):
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{script}: {response}; {self.value('document.body?.innerText')}"
                )
            time.sleep(0.2)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def browser(*options: str) -> Iterator[Page]:
    """Starts Chromium with an empty profile, and yields a page."""
    from_browser, browser_out = os.pipe()
    browser_in, to_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--remote-debugging-pipe"),
            *(f"--user-data-dir={profile}", "--disable-gpu", *options),
        ]

        # Chromium reads from descriptor 3 and writes to 4. The copies have high numbers, so that
        # the first dup2 does not close the second descriptor.
        copies = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (browser_in, browser_out)]

        def set_descriptors() -> None:
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        process = subprocess.Popen(
            command,
            preexec_fn=set_descriptors,  # noqa: PLW1509  (two system calls, no locks)
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Page(to_browser, from_browser)
        finally:
            process.kill()
            process.wait()
            for end in (from_browser, browser_out, browser_in, to_browser, *copies):
                os.close(end)
