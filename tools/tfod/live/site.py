"""Writes and serves a web page that runs exported `.tflite` files on a camera in the browser."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tfod.detection.tflite_file import read_tflite
from tfod.download import download_npm_package
from tfod.errors import UserError
from tfod.folder_kind import FolderKind
from tfod.progress import Progress, silent

PAGE = Path(__file__).with_name("page")
# MediaPipe Tasks for browsers, from npm, and the SHA-512 that npm lists for it.
PACKAGE, VERSION = "@mediapipe/tasks-vision", "1.1.0"
DIGEST = (
    "649aa1d3030a388368adf49f7ef0c0c73c8ed7ffdcf85886dc893339d3439cba"
    "af041dc36cc7e3d1b07fb72b3648d7fd4bdd78b20a086c8a45e074ce8b7dfa72"
)
BUNDLE = "vision_bundle.mjs"
SITE = "site.json"
LIVE_PAGE = FolderKind(
    "a page of tfod live",
    (SITE, "worker.js"),
    ("models", "vision", *sorted(path.name for path in PAGE.iterdir())),
)


def fetch_mediapipe(progress: Progress = silent) -> Path:
    """Returns the npm archive of MediaPipe Tasks for browsers (11 MB), downloaded once.

    Raises:
      UserError: see `download_npm_package`.
    """
    return download_npm_package(PACKAGE, VERSION, DIGEST, progress)


def find_models(paths: Sequence[Path]) -> list[Path]:
    """Returns the `.tflite` files among files, and all in folders and the folders in them.

    Raises:
      UserError: a folder contains none.
    """
    models: list[Path] = []
    for path in paths:
        found = [path]
        if path.is_dir():
            found = sorted([*path.glob("*.tflite"), *path.glob("*/*.tflite")])
            if not found:
                raise UserError(path, "contains no .tflite file", "Give one, or an export folder")
        models += found
    return list(dict.fromkeys(models))


def write_site(models: Sequence[Path], folder: Path, mediapipe: Path) -> None:
    """Writes the page and its models to a folder that any web server can serve.

    The page loads nothing from other servers. It works offline with each model that was used once.

    Args:
      models: `.tflite` files written by `tfod export`. The page begins with the first one.
      folder: an empty folder.
      mediapipe: the archive from `fetch_mediapipe`.

    Raises:
      UserError: a model is corrupt.
    """
    for source in PAGE.iterdir():
        shutil.copyfile(source, folder / source.name)
    (folder / "models").mkdir()
    entries = []
    for number, (model, name) in enumerate(zip(models, _names(models), strict=True)):
        file = read_tflite(model)
        copy = f"models/{number}.tflite"
        shutil.copyfile(model, folder / copy)
        classes = list(file.labels.values())
        entries.append(
            {"name": name, "file": copy, "classes": classes, "threshold": file.threshold}
        )
    (folder / SITE).write_text(json.dumps({"models": entries}), encoding="utf-8")
    _unpack(mediapipe, folder / "vision")
    worker = folder / "worker.js"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    version = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    worker.write_text(worker.read_text().replace("tfod-VERSION", f"tfod-{version}"))


def _names(models: Sequence[Path]) -> list[str]:
    """Returns the names of the models' folders, with the file if a folder has several models."""
    folders = [model.resolve().parent.name for model in models]
    several = {name for name, number in Counter(folders).items() if number > 1}
    return [
        f"{folder} {model.stem}" if folder in several else folder
        for folder, model in zip(folders, models, strict=True)
    ]


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks the JavaScript module and its WebAssembly builds, and no other file."""
    (folder / "wasm").mkdir(parents=True)
    with tarfile.open(archive) as content:
        for member in content:
            name = member.name.removeprefix("package/")
            is_needed = name == BUNDLE or (
                name.startswith("wasm/vision_wasm_") and name.count("/") == 1
            )
            if not is_needed or not member.isfile():
                continue
            source = content.extractfile(member)
            assert source is not None  # it is a regular file
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012  (as in the base class)
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    def log_message(self, *arguments) -> None:
        """Logs nothing: one line per requested file is of no use."""


def serve(folder: Path, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves a folder over HTTP until Ctrl-C.

    Args:
      port: 0 for any free port.
      on_ready: called with the URL of the page.

    Raises:
      UserError: the server cannot listen on this host and port.
    """
    try:
        server = ThreadingHTTPServer((host, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"{host}:{port}", f"cannot be used: {error.strerror}", "Choose another --port"
        ) from error
    with server, contextlib.suppress(KeyboardInterrupt):
        on_ready(f"http://{host}:{server.server_address[1]}/")
        sys.stdout.flush()
        server.serve_forever()
