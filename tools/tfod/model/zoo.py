"""The TensorFlow 2 detection model zoo: what it has, and fetching a checkpoint of it once."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tfod.download import cache_folder, download
from tfod.errors import UserError
from tfod.files import load_json, replacing_folder
from tfod.progress import Progress, silent

SERVER = "http://download.tensorflow.org/models/object_detection/tf2"
LIST = Path(__file__).with_name("zoo.csv")
RECORD = "archive.json"
# The largest of the zoo, CenterNet on Hourglass-104, unpacks to less; an archive made to fill the
# disk does not.
MOST_BYTES = 4 << 30
MOST_MEMBERS = 10_000
CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A model of the zoo.

    Attributes:
      name: of the archive, without `.tar.gz`.
      date: folder on the server, YYYYMMDD.
      speed_ms: a picture on the zoo's GPU, in milliseconds; None where it does not say.
      coco_map: COCO mAP in percent, of key points where the name has `kpts`; None as above.
    """

    name: str
    date: str
    speed_ms: int | None
    coco_map: float | None

    @property
    def url(self) -> str:
        return f"{SERVER}/{self.date}/{self.name}.tar.gz"

    @property
    def folder(self) -> Path:
        """Where its checkpoint lies once it was fetched."""
        return cache_folder() / "zoo" / self.name

    @property
    def packed(self) -> Path:
        """Where it lies between download and unpacking."""
        return self.folder.with_name(f"{self.name}.tar.gz")


def archives() -> list[Archive]:
    """All detection models of the zoo, in the order of its page."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return [
            Archive(
                row["archive"],
                row["date"],
                int(row["speed_ms"]) if row["speed_ms"] else None,
                float(row["coco_map"]) if row["coco_map"] else None,
            )
            for row in csv.DictReader(file)
        ]


def find_archive(name: str) -> Archive | None:
    """The archive of that name, with `.tar.gz` or without; None where the zoo has none."""
    return next((each for each in archives() if each.name == name.removesuffix(".tar.gz")), None)


def archive_for(template: str) -> Archive:
    """The archive whose weights a template starts from.

    That is the one of its name; for a variant such as `…_448x448_signs`, the model of the same kind
    whose input size is nearest: convolutions do not care.

    Raises:
      UserError: the zoo has no such model.
    """
    kind, size = _kind_and_size(template)
    alike = [each for each in archives() if size and _kind_and_size(each.name)[0] == kind]
    if alike:
        return min(alike, key=lambda each: abs(_kind_and_size(each.name)[1] - size))
    names = [each.name for each in archives()]
    near = get_close_matches(template, names, n=1, cutoff=0.8)
    raise UserError(
        "--init zoo",
        f"has no checkpoint for {template}",
        f"Name one (`tfod zoo` lists them{f'; {near[0]}?' if near else ''}) or another checkpoint, "
        "or train from nothing with --init scratch",
    )


def _kind_and_size(name: str) -> tuple[str, int]:
    """`ssd_x_320x320_coco17` -> `ssd_x` and 320; size 0 where the name has none."""
    found = re.match(r"(.+)_(\d+)x\d+(_|$)", name)
    return (found[1], int(found[2])) if found else (name, 0)


def fetch_checkpoint(archive: Archive, progress: Progress = silent) -> Path:
    """The prefix of an archive's checkpoint, fetched if it is not in the cache.

    The zoo publishes no hashes. Size and SHA-256 of what came first are kept in `NAME/archive.json`
    with those of each file unpacked, and what comes later has to be the same.

    Args:
      progress: called with the name of the archive and bytes.

    Raises:
      UserError: it cannot be fetched, is damaged, is not what it was, or not to be trusted.
    """
    folder, digest = archive.folder, None
    if (folder / RECORD).is_file():
        record = load_json(folder / RECORD, f"Remove the folder {folder}")
        if _intact(folder, record):
            return _prefix(folder)
        digest = record["sha256"]
    if archive.packed.is_file() and digest not in (None, _sha256(archive.packed)):
        archive.packed.unlink()
    alternatives = (
        f"Fetch {archive.url} where there is a network and put it at {archive.packed}; or give "
        "--init FOLDER/checkpoint/ckpt-0 of any checkpoint; or train from nothing with --init "
        "scratch"
    )
    if digest is not None:
        alternatives += f". If the zoo's file is known to have changed, remove {folder}"
    download(archive.url, archive.packed, digest, progress, alternatives)
    with replacing_folder(folder) as partial:
        files = _unpack(archive.packed, partial)
        found = {
            "url": archive.url,
            "bytes": archive.packed.stat().st_size,
            "sha256": _sha256(archive.packed),
            "files": files,
        }
        (partial / RECORD).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    archive.packed.unlink()
    return _prefix(folder)


def _intact(folder: Path, record: dict) -> bool:
    """Whether each file is as it was when it was unpacked."""
    return all(
        (folder / name).is_file() and _sha256(folder / name) == digest
        for name, digest in record["files"].items()
    )


def _prefix(folder: Path) -> Path:
    """What comes before `.index` of the one checkpoint in a folder."""
    return next(folder.glob("*.index")).with_suffix("")


def _unpack(archive: Path, folder: Path) -> dict[str, str]:
    """Writes an archive's checkpoint and pipeline.config flat into `folder`; their SHA-256.

    Nothing is extracted by name: a member's last name alone decides where its content goes, so that
    no path and no link leads anywhere else. One that tries is a reason to take nothing at all.
    """
    digests, left = {}, MOST_BYTES
    with _reading(archive), tarfile.open(archive, "r|gz") as members:
        for number, member in enumerate(members):
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise _not_to_trust(archive, f"wants to write outside its folder: {member.name!r}")
            if not (member.isfile() or member.isdir()):
                raise _not_to_trust(archive, f"holds a link or device: {member.name!r}")
            left -= member.size
            if left < 0 or number >= MOST_MEMBERS:
                raise _not_to_trust(archive, "unpacks to more than any model of the zoo")
            wanted = path.name == "pipeline.config" or (
                re.fullmatch(r"ckpt-\d+\.(index|data-\d+-of-\d+)", path.name)
                and "saved_model" not in path.parts
            )
            if member.isfile() and wanted:
                content = members.extractfile(member)
                digests[path.name] = _copy(content, folder / path.name, member.size)
        if sum(name.endswith(".index") for name in digests) != 1 or len(digests) < 2:
            raise _not_to_trust(archive, "holds no checkpoint, or several")
    return digests


def _copy(content: BinaryIO, target: Path, size: int) -> str:
    """SHA-256 of what was written."""
    digest, left = hashlib.sha256(), size
    with target.open("xb") as file:
        while chunk := content.read(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
    if left:
        raise tarfile.ReadError("ends too early")
    return digest.hexdigest()


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, FileExistsError, ValueError) as error:
        raise _not_to_trust(archive, f"is not a whole .tar.gz: {error}") from error


def _not_to_trust(archive: Path, what: str) -> UserError:
    archive.unlink(missing_ok=True)
    return UserError(archive, what, "It was removed; repeat the command to fetch it again")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
