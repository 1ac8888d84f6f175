"""Fetching a file over HTTP: resumed, retried, checked, and there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO

from tfod.errors import UserError
from tfod.progress import Progress, silent

ATTEMPTS = 5  # in a row that bring nothing new
PATIENCE = 20.0  # seconds without a byte
PAUSE = 1.0  # seconds before the second attempt; doubled before each that follows
CHUNK = 1 << 16


def cache_folder() -> Path:
    """Where fetched files are kept between runs: as the XDG specification says."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tfod"


def download(
    url: str,
    target: Path,
    digest: str | None = None,
    progress: Progress = silent,
    alternatives: str = "Try again later, or from another network",
) -> Path:
    """Fetches a file unless it is there already.

    What arrived before a break, in this process or an earlier one, is kept in `NAME.partial` and
    gone on from, where the server allows.

    Args:
      target: the file to write. One that is there is taken to be right: it was checked.
      digest: SHA-512 or SHA-256 that the content must have, in hexadecimal.
      progress: called with the name of the file and bytes.
      alternatives: what to do where it cannot be had.

    Returns:
      `target`.

    Raises:
      UserError: it cannot be fetched or written, or is not what was expected.
    """
    if target.is_file():
        return target
    partial = target.with_name(f"{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, partial, progress, alternatives)
        if digest is not None and _digest(partial, digest) != digest:
            partial.unlink()
            raise UserError(
                url, "is not the file that was expected: its hash differs", alternatives
            )
        partial.replace(target)
    except OSError as error:
        raise UserError(
            target, f"cannot be written: {error.strerror or error}", "Make room or give permission"
        ) from error
    return target


def _fetch(url: str, partial: Path, progress: Progress, alternatives: str) -> None:
    import requests

    failures, most, reason = 0, 0, ""
    while failures < ATTEMPTS:
        if failures:
            time.sleep(PAUSE * 2 ** (failures - 1))
        try:
            if _fetch_rest(url, partial, progress):
                return
            reason = "the connection ended before the file did"
        except requests.HTTPError as error:
            code = error.response.status_code
            reason = f"the server answers {code} {error.response.reason}"
            if 400 <= code < 500 and code not in (408, 416, 429):
                break
            if code == 416:  # what lies there is no beginning of this file
                partial.unlink(missing_ok=True)
        except requests.Timeout:
            reason = f"the server says nothing for {PATIENCE:.0f} seconds"
        except requests.ConnectionError:
            reason = "no connection to the server"
        except requests.RequestException as error:
            reason = str(error)
        there = partial.stat().st_size if partial.exists() else 0
        failures = 1 if there > most else failures + 1
        most = max(most, there)
    raise UserError(url, f"cannot be fetched: {reason}", alternatives)


def _fetch_rest(url: str, partial: Path, progress: Progress) -> bool:
    """Appends what is missing; whether the file is whole then."""
    import requests

    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=PATIENCE) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial:
            start = 0  # the server starts anew, or this is the first time
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with partial.open("ab" if start else "wb") as file:
            done = _copy(response, file, start, total, partial.stem, progress)
    return total is None or done == total


def _copy(
    response, file: BinaryIO, done: int, total: int | None, stage: str, progress: Progress
) -> int:
    from urllib3.exceptions import HTTPError

    try:
        while chunk := response.raw.read1(CHUNK):  # what is there, without waiting for more
            file.write(chunk)
            done += len(chunk)
            progress(stage, done, total)
    except HTTPError:
        pass  # a break or a stall: what came is kept, and its length tells
    return done


def _digest(path: Path, like: str) -> str:
    digest = hashlib.sha512() if len(like) == 128 else hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
