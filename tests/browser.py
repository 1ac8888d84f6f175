"""Chromium without a window, driven over its DevTools pipe."""

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

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page:
    """One tab. `ask` sends a DevTools command, `value` evaluates JavaScript."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._number, self._session = 0, {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters) -> dict:
        answer = self._answer(method, **parameters)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _answer(self, method: str, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                return answer

    def _next(self) -> dict:
        content = bytearray()
        while not content.endswith(b"\0"):
            content += os.read(self._from, 1)
        return json.loads(content[:-1])

    def value(self, script: str):
        answer = self._evaluate(script)
        assert "error" not in answer, answer["error"]
        assert "exceptionDetails" not in answer["result"], answer["result"]
        return answer["result"]["result"].get("value")

    def _evaluate(self, script: str) -> dict:
        options = {"returnByValue": True, "awaitPromise": True}
        return self._answer("Runtime.evaluate", expression=script, **options)

    def wait_for(self, script: str, seconds: float = 60):
        """What `script` evaluates to, once it is something.

        On the way from one page to the next it may fail, for want of a body or of a page.
        """
        end = time.monotonic() + seconds
        while True:
            answer = self._evaluate(script)
            result = answer.get("result", {})
            if "exceptionDetails" not in result and (
                value := result.get("result", {}).get("value")
            ):
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{script}: {answer}; {self.value('document.body?.innerText')}")
            time.sleep(0.2)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextmanager
def browser(*options: str) -> Iterator[Page]:
    """A page in a browser of its own, with nothing kept from before."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--remote-debugging-pipe"),
            *(f"--user-data-dir={profile}", "--disable-gpu", *options),
        ]

        # High numbers first, or 3 could take the place of what is to become 4.
        far = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (theirs_in, theirs_out)]

        def as_chromium_wants_them() -> None:
            os.dup2(far[0], 3)
            os.dup2(far[1], 4)

        process = subprocess.Popen(
            command,
            preexec_fn=as_chromium_wants_them,  # noqa: PLW1509  (two system calls, no locks)
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Page(ours_out, ours_in)
        finally:
            process.kill()
            process.wait()
            for each in (ours_in, theirs_out, theirs_in, ours_out, *far):
                os.close(each)
