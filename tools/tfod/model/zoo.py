"""Lists the TensorFlow 2 detection model zoo, and downloads its checkpoints into a cache."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import IO

from tfod.dataset.label_map import LABEL_MAP
from tfod.download import cache_folder, download
from tfod.errors import UserError
from tfod.files import load_json, replacing_folder, sha256
from tfod.folder_kind import FolderKind
from tfod.progress import Progress, silent

SERVER = "http://download.tensorflow.org/models/object_detection/tf2"
ARCHIVE_LIST = Path(__file__).with_name("zoo.csv")
COCO_LABEL_MAP = Path(__file__).with_name("coco_label_map.pbtxt")
RECORD = "archive.json"
CHECKPOINT = FolderKind("a checkpoint of the zoo", (RECORD,), ("*",))
# Templates without a model of their own kind in the zoo, and the kind that has their backbone.
SAME_BACKBONE = {"simple_cnn": "ssd_mobilenet_v2_320x320"}
# The largest archive of the zoo, CenterNet with Hourglass-104, unpacks to less. The limits stop
# archives that were made to fill the disk.
MAX_UNPACKED_BYTES = 4 << 30
MAX_MEMBERS = 10_000
CHUNK = 1 << 20
INIT_ALTERNATIVES = (
    "; or give --init FOLDER/checkpoint/ckpt-0 of any checkpoint; or train from random weights "
    "with --init scratch"
)


@dataclass(frozen=True)
class Archive:
    """A model of the zoo.

    Attributes:
      name: of the archive, without `.tar.gz`.
      date: the folder on the server, YYYYMMDD.
      speed_ms: milliseconds per image on the zoo's GPU; None if the zoo does not state it.
      coco_map: COCO mAP in percent, for keypoints if the name contains `kpts`; None if the zoo does
        not state it.
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
        """The folder in the cache with the unpacked checkpoint."""
        return cache_folder() / "zoo" / self.name

    @property
    def file(self) -> Path:
        """The downloaded archive, which is deleted when it is unpacked."""
        return self.folder.with_name(f"{self.name}.tar.gz")


def archives() -> list[Archive]:
    """Returns all detection models of the zoo, in the order of its web page."""
    with ARCHIVE_LIST.open(encoding="utf-8", newline="") as file:
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
    """Returns the archive with this name, with or without `.tar.gz`; None if the zoo has none."""
    name = name.removesuffix(".tar.gz")
    return next((archive for archive in archives() if archive.name == name), None)


def archive_for(template: str) -> Archive:
    """Returns the archive with the weights that a template starts from.

    This is the archive with the template's name. For a variant such as `…_448x448_signs`, it is the
    model of the same kind with the nearest input size: convolution weights fit any size. For a
    template in `SAME_BACKBONE`, it is the one of the other kind.

    Raises:
      UserError: the zoo has no such model.
    """
    kind, size = _kind_and_size(SAME_BACKBONE.get(template, template))
    candidates = [
        archive for archive in archives() if size and _kind_and_size(archive.name)[0] == kind
    ]
    if candidates:
        return min(candidates, key=lambda archive: abs(_kind_and_size(archive.name)[1] - size))
    names = [archive.name for archive in archives()]
    similar = get_close_matches(template, names, n=1, cutoff=0.8)
    hint = f", for example {similar[0]}" if similar else ""
    raise UserError(
        "--init zoo",
        f"the model zoo has no checkpoint for {template}",
        f"Give the name of a zoo model (see `tfod zoo`){hint}, or another checkpoint, or train "
        "from random weights with --init scratch",
    )


def _kind_and_size(name: str) -> tuple[str, int]:
    """Splits `ssd_x_320x320_coco17` into `ssd_x` and 320; the size is 0 if the name has none."""
    match = re.match(r"(.+)_(\d+)x\d+(_|$)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def fetch_model(archive: Archive, progress: Progress = silent) -> Path:
    """Returns an archive's model as a run folder, which is downloaded if the cache lacks it.

    It has the checkpoint, its pipeline.config and COCO's classes. The SavedModel of the archive is
    not used: it can contain operations that read and write files, and the zoo has no https.

    Args:
      progress: see `fetch_checkpoint`.

    Raises:
      UserError: see `fetch_checkpoint`.
    """
    prefix = fetch_checkpoint(archive, progress, alternatives="")
    shutil.copyfile(COCO_LABEL_MAP, archive.folder / LABEL_MAP)
    # TensorFlow's list of the checkpoints in a folder.
    state = f'model_checkpoint_path: "{prefix.name}"\n'
    (archive.folder / "checkpoint").write_text(state, encoding="utf-8")
    return archive.folder


def fetch_checkpoint(
    archive: Archive, progress: Progress = silent, alternatives: str = INIT_ALTERNATIVES
) -> Path:
    """Returns the checkpoint prefix of an archive, which is downloaded if the cache lacks it.

    The zoo publishes no hashes. The size and SHA-256 of the first download are saved in
    `NAME/archive.json`, with the SHA-256 of each unpacked file. The cached files are checked
    against them at each call, and a later download must have the same hash.

    Args:
      progress: called as `progress(archive name, done, total)`, in bytes.
      alternatives: to a download, for the error message.

    Raises:
      UserError: the archive cannot be downloaded, is damaged, has changed, or is not safe to
        unpack.
    """
    folder, digest = archive.folder, None
    if (folder / RECORD).is_file():
        record = load_json(folder / RECORD, f"Remove the folder {folder}")
        if _is_intact(folder, record):
            return _prefix(folder)
        digest = record["sha256"]
    if archive.file.is_file() and digest not in (None, sha256(archive.file)):
        archive.file.unlink()
    remedy = f"Download {archive.url} on a machine with a network and copy it to {archive.file}"
    remedy += alternatives
    if digest is not None:
        remedy += f". If the zoo's file is known to have changed, remove {folder}"
    download(archive.url, archive.file, digest, progress, remedy)
    with replacing_folder(
        folder,
        overwrite=True,
        check_old=CHECKPOINT.check,
        option="XDG_CACHE_HOME",
    ) as partial:
        digests = _unpack(archive.file, partial)
        record = {
            "url": archive.url,
            "bytes": archive.file.stat().st_size,
            "sha256": sha256(archive.file),
            "files": digests,
        }
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    archive.file.unlink()
    return _prefix(folder)


def _is_intact(folder: Path, record: dict) -> bool:
    """Whether all unpacked files have the recorded hashes."""
    return all(
        (folder / name).is_file() and sha256(folder / name) == digest
        for name, digest in record["files"].items()
    )


def _prefix(folder: Path) -> Path:
    """Returns the prefix of the only checkpoint in a folder."""
    return next(folder.glob("*.index")).with_suffix("")


def _unpack(archive: Path, folder: Path) -> dict[str, str]:
    """Writes the checkpoint and pipeline.config of an archive into `folder`, without subfolders.

    Only the last part of a member's name decides where its content is written, so no path or link
    can lead out of `folder`. An archive with such a member is refused as a whole.

    Returns:
      The SHA-256 of each file by its name.
    """
    digests, remaining = {}, MAX_UNPACKED_BYTES
    with _refuse_if_damaged(archive), tarfile.open(archive, "r|gz") as members:
        for number, member in enumerate(members):
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise _refused(archive, f"would write outside its folder: {member.name!r}")
            if not (member.isfile() or member.isdir()):
                raise _refused(archive, f"contains a link or device: {member.name!r}")
            remaining -= member.size
            if remaining < 0 or number >= MAX_MEMBERS:
                raise _refused(archive, "unpacks to more than any model of the zoo")
            is_needed = path.name == "pipeline.config" or (
                re.fullmatch(r"ckpt-\d+\.(index|data-\d+-of-\d+)", path.name)
                and "saved_model" not in path.parts
            )
            content = members.extractfile(member) if is_needed else None
            if content is not None:  # None for a folder with such a name
                digests[path.name] = _copy(content, folder / path.name, member.size)
        if sum(name.endswith(".index") for name in digests) != 1 or len(digests) < 2:
            raise _refused(archive, "does not contain exactly one checkpoint")
    return digests


def _copy(content: IO[bytes], target: Path, size: int) -> str:
    """Writes `size` bytes into a new file and returns their SHA-256."""
    digest, remaining = hashlib.sha256(), size
    with target.open("xb") as file:
        while chunk := content.read(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            remaining -= len(chunk)
    if remaining:
        raise tarfile.ReadError("truncated")
    return digest.hexdigest()


@contextmanager
def _refuse_if_damaged(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, FileExistsError, ValueError) as error:
        raise _refused(archive, f"is not a complete .tar.gz: {error}") from error


def _refused(archive: Path, what: str) -> UserError:
    """Deletes an archive and returns the error to raise."""
    archive.unlink(missing_ok=True)
    return UserError(archive, what, "It was deleted; repeat the command to download it again")
