"""Fixtures of the tests of `tfod label`: a served folder of images, and its page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from browser import browser
from helpers.label_page import Label
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.errors import UserError
from tfod.labeling.folder import LabelFolder
from tfod.labeling.server import Handler
from tfod.labeling.site import LabelSite, fetch_annotorious


@pytest.fixture(scope="session")
def annotorious() -> Path:
    try:
        return fetch_annotorious()
    except UserError as error:
        pytest.skip(f"needs npm's registry: {error}")


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three images of 400 x 300 pixels, of which the first has two objects."""
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.png", "sub/c.jpg"):
        write_image(folder / name, size=(400, 300))
    objects = voc_object("stop", (10, 20, 110, 120)), voc_object("dog", (200, 30, 240, 80))
    write_xml(folder / "a.xml", *objects, size=(400, 300))
    return folder


@pytest.fixture
def serve(annotorious) -> Callable:
    """Returns a function that serves a folder in a `with` block and yields the URL."""

    @contextmanager
    def serve(folder: Path, detector=None, token: str | None = None) -> Iterator[str]:
        site = LabelSite(LabelFolder(folder), annotorious, detector)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, site, token))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return serve


@pytest.fixture
def opened(serve):
    @contextmanager
    def opened(folder: Path, detector=None, image: int = 0):
        with serve(folder, detector) as url, browser("--window-size=1400,900") as page:
            yield Label(page, url, image)

    return opened
