"""Downloads a file over HTTP: resumes, retries, and verifies before the file appears."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tfod.errors import UserError
from tfod.progress import Progress, silent

if TYPE_CHECKING:  # loaded only if there is something to download
    import requests

ATTEMPTS = 5  # consecutive attempts without new data
TIMEOUT = 20.0  # seconds without data
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
CHUNK = 1 << 16
CLOSED = "the connection was closed before the end of the file"


def cache_folder() -> Path:
    """Returns the folder for downloaded files, as the XDG base directory specification defines."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tfod"


def download_npm_package(name: str, version: str, digest: str, progress: Progress = silent) -> Path:
    """Downloads a package from npm into the cache once, and verifies its hash.

    Args:
      name: such as `@mediapipe/tasks-vision`.
      digest: the SHA-512 that npm lists for it, in hexadecimal.
      progress: called with the name of the file and bytes.

    Returns:
      The archive, in the cache folder.

    Raises:
      UserError: the download fails, or the hash differs.
    """
    short = name.rpartition("/")[2]
    url = f"https://registry.npmjs.org/{name}/-/{short}-{version}.tgz"
    file_name = name.removeprefix("@").replace("/", "-")
    target = cache_folder() / f"{file_name}-{version}.tgz"
    remedy = (
        f"Run `npm pack {name}@{version}` on a machine with network access, and copy the file to "
        f"{target}"
    )
    return download(url, target, digest, progress, remedy)


def download(
    url: str,
    target: Path,
    digest: str | None = None,
    progress: Progress = silent,
    alternatives: str = "Try again later, or from another network",
) -> Path:
    """Downloads a file unless it exists.

    After an interruption, also of an earlier process, the download resumes from `NAME.partial` if
    the server supports it.

    Args:
      target: the file to write. An existing one is not verified again.
      digest: SHA-512 or SHA-256 of the content, in hexadecimal; None to skip the verification.
      progress: called with the name of the file and bytes.
      alternatives: the remedy if the download fails.

    Returns:
      `target`.

    Raises:
      UserError: the file cannot be downloaded or written, or its hash differs.
    """
    if target.is_file():
        return target
    # Not `files.replacing_file`, which deletes the partial file after an error: it is kept to
    # resume from.
    partial = target.with_name(f"{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download_with_retries(url, partial, progress, alternatives)
        if digest is not None and _digest(partial, digest) != digest:
            partial.unlink()
            raise UserError(url, "is not the expected file: its hash differs", alternatives)
        partial.replace(target)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise UserError(target, what, "Free disk space, or check the permissions") from error
    return target


def _download_with_retries(url: str, partial: Path, progress: Progress, alternatives: str) -> None:
    import requests
    from urllib3 import exceptions as urllib3_errors

    failures, largest, reason = 0, 0, ""
    while failures < ATTEMPTS:
        if failures:
            time.sleep(PAUSE * 2 ** (failures - 1))
        try:
            if _download_rest(url, partial, progress):
                return
            reason = CLOSED
        except requests.HTTPError as error:
            response = error.response
            assert response is not None  # set by raise_for_status
            code = response.status_code
            reason = f"the server returned {code} {response.reason}"
            if 400 <= code < 500 and code not in (408, 416, 429):
                break
            if code == 416:  # range not satisfiable: the partial file is not a part of this file
                partial.unlink(missing_ok=True)
        except (requests.Timeout, urllib3_errors.ReadTimeoutError):
            reason = f"the server sent nothing for {TIMEOUT:.0f} seconds"
        except requests.ConnectionError:
            reason = "no connection to the server"
        except requests.RequestException as error:
            reason = str(error)
        except urllib3_errors.HTTPError:  # requests does not convert those of `response.raw`
            reason = CLOSED
        size = partial.stat().st_size if partial.exists() else 0
        failures = 1 if size > largest else failures + 1
        largest = max(largest, size)
    raise UserError(url, f"cannot be downloaded: {reason}", alternatives)


def _download_rest(url: str, partial: Path, progress: Progress) -> bool:
    """Appends the missing bytes. Returns whether the file is complete."""
    import requests

    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial:
            start = 0  # the server sends the complete file
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with partial.open("ab" if start else "wb") as file:
            done = _copy(response, file, start, total, partial.stem, progress)
    return total is None or done == total


def _copy(
    response: requests.Response,
    file: BinaryIO,
    done: int,
    total: int | None,
    stage: str,
    progress: Progress,
) -> int:
    """Writes the response to the file. Returns `done` plus the number of bytes written."""
    while chunk := response.raw.read1(CHUNK):  # returns the available bytes without waiting
        file.write(chunk)
        done += len(chunk)
        progress(stage, done, total)
    return done


def _digest(path: Path, expected: str) -> str:
    """Returns the hash of a file, with the algorithm that gives digests as long as `expected`."""
    digest = hashlib.sha512() if len(expected) == 128 else hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
