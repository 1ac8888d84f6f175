"""A page that runs an exported `.tflite` on a phone's camera, in any browser."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tfod.detection.tflite_file import read_tflite
from tfod.download import cache_folder, download
from tfod.errors import UserError
from tfod.files import replacing_folder
from tfod.progress import Progress, silent

PAGE = Path(__file__).with_name("page")
VERSION = "1.1.0"
# MediaPipe's detector for browsers, from npm, and the hash npm has of it.
PACKAGE = f"https://registry.npmjs.org/@mediapipe/tasks-vision/-/tasks-vision-{VERSION}.tgz"
DIGEST = (
    "649aa1d3030a388368adf49f7ef0c0c73c8ed7ffdcf85886dc893339d3439cba"
    "af041dc36cc7e3d1b07fb72b3648d7fd4bdd78b20a086c8a45e074ce8b7dfa72"
)
BUNDLE = "vision_bundle.mjs"


def fetch_mediapipe(progress: Progress = silent) -> Path:
    """The archive of MediaPipe for browsers: 11 MB, fetched once, checked against npm's hash.

    Raises:
      UserError: it cannot be fetched.
    """
    target = cache_folder() / f"mediapipe-tasks-vision-{VERSION}.tgz"
    alternative = (
        f"Where there is a network, `npm pack @mediapipe/tasks-vision@{VERSION}`, and put what "
        f"that writes at {target}"
    )
    return download(PACKAGE, target, DIGEST, progress, alternative)


def write_site(model: Path, folder: Path, mediapipe: Path) -> Path:
    """Writes the page with a model as a folder that any web server can serve.

    The page asks for nothing from elsewhere, and once loaded it opens without a network.

    Args:
      model: a `.tflite` that export wrote.
      folder: appears when complete.
      mediapipe: what `fetch_mediapipe` gave.

    Raises:
      UserError: the model is damaged, or the folder cannot be written.
    """
    file = read_tflite(model)
    with replacing_folder(folder) as partial:
        for each in PAGE.iterdir():
            shutil.copyfile(each, partial / each.name)
        shutil.copyfile(model, partial / "model.tflite")
        site = {
            "name": model.resolve().parent.name,
            "classes": list(file.labels.values()),
            "threshold": file.threshold,
        }
        (partial / "site.json").write_text(json.dumps(site), encoding="utf-8")
        _unpack(mediapipe, partial / "vision")
        worker = partial / "worker.js"
        content = (each.read_bytes() for each in sorted(partial.rglob("*")) if each.is_file())
        version = hashlib.sha256(b"".join(content)).hexdigest()[:16]
        worker.write_text(worker.read_text().replace("tfod-VERSION", f"tfod-{version}"))
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """The module and its builds for WebAssembly, and nothing else that the archive may hold."""
    (folder / "wasm").mkdir(parents=True)
    with tarfile.open(archive) as content:
        for member in content:
            inside = member.name.removeprefix("package/")
            wanted = inside == BUNDLE or (
                inside.startswith("wasm/vision_wasm_") and inside.count("/") == 1
            )
            if wanted and member.isfile():
                with content.extractfile(member) as source, (folder / inside).open("wb") as target:
                    shutil.copyfileobj(source, target)


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012  (as in the class it is from)
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    def log_message(self, *arguments) -> None:
        """Nothing: a line a file helps nobody."""


def serve(folder: Path, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves a folder until Ctrl-C.

    Args:
      port: 0 for any that is free.
      on_ready: called with the page's address.

    Raises:
      UserError: the address cannot be listened on.
    """
    try:
        server = ThreadingHTTPServer((host, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"{host}:{port}", f"cannot be listened on: {error.strerror}", "Choose another --port"
        ) from error
    with server, contextlib.suppress(KeyboardInterrupt):
        on_ready(f"http://{host}:{server.server_address[1]}/")
        sys.stdout.flush()
        server.serve_forever()
