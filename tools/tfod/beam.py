"""Runs the work on many files in an Apache Beam pipeline, on Flink, Dataflow or Spark.

It runs the same functions as the local processes of `parallel`, with the same results in the same
order. Every worker must have this package, and access to the folders under the same paths as here
(a network file system, a mounted bucket).
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tfod.errors import UserError
from tfod.files import locked
from tfod.progress import Progress, silent

Item = TypeVar("Item")
Result = TypeVar("Result")
Stamp = tuple[str, int, int]  # of a file: path, modification time in ns, size in bytes

CHUNK = 64  # items per task of a worker
INTERVAL = 1.0  # seconds between two reports of the progress
# Without it, Beam prints log output of every worker. `options` can override it.
QUIET = ("--default_sdk_harness_log_level=WARNING",)


@dataclass(frozen=True)
class Cluster:
    """Where a pipeline runs.

    Attributes:
      options: of the pipeline, such as `["--runner=FlinkRunner", "--flink_master=host:8081"]`.
      scratch: a folder that every worker can write to, for temporary files.
    """

    options: Sequence[str]
    scratch: Path


def beam_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    cluster: Cluster,
    *,
    chunk: int = CHUNK,
    files: Iterable[Path] | None = None,
    progress: Progress = silent,
) -> Iterator[Result]:
    """Yields `function(item)` for each item, in order, computed by a Beam pipeline.

    Each task writes its results into a file. They are read one chunk at a time, when the pipeline
    has ended.

    Args:
      function: is pickled once, so it may contain large data; items and results are pickled too.
      chunk: items per task of a worker.
      files: all files that the results depend on. If this process is killed, the same call uses
        the finished results again, unless one of the files has changed since. It finds them by a
        digest of the pickled function and items, so these must not contain sets, whose order
        differs between processes. None if a call must not use the results of another one, because
        the function does more than to return them.
      progress: called as `progress("on the cluster", done, total)` until the pipeline has ended.

    Raises:
      UserError: raised by `function`, for the first such item; Beam is not installed, or does not
        know an option or the runner; or the workers cannot write to `cluster.scratch`.
    """
    pipeline = new_pipeline(cluster.options)
    folder_of = _new_folder if files is None else _folder_of_job
    work = _ChunkFunction(function, Path.cwd())
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    with folder_of(cluster.scratch, work, chunks, files or ()) as folder:
        results = [folder / f"{number:06d}" for number in range(len(chunks))]
        # Listed, because a network file system may remember for a while that a file is missing.
        finished = set(folder.iterdir())
        missing = [pair for pair in zip(results, chunks, strict=True) if pair[0] not in finished]

        def report() -> None:
            done = chunk * sum(file.name.isdigit() for file in folder.iterdir())
            progress("on the cluster", min(done, len(items)), len(items))

        if missing:
            with _repeated(report):
                _run(pipeline, work, missing)
        if not finished.union(folder.iterdir()).issuperset(results):
            remedy = "Check that all workers can write to this folder, and have disk space"
            raise _NotWrittenError(folder, "a worker could not write results there", remedy)
        for file in results:
            for result in pickle.loads(file.read_bytes()):
                if isinstance(result, UserError):
                    raise result
                yield result


class _NotWrittenError(UserError):
    """Results are missing; the others can be used again."""


def new_pipeline(options: Sequence[str]) -> Any:
    """Returns an empty `apache_beam.Pipeline`.

    Raises:
      UserError: Beam is not installed, or does not know an option or the runner.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        remedy = "Install it: pip install --only-binary apache-beam apache-beam"
        raise UserError("--runner", "needs apache-beam", remedy) from error
    try:
        return beam.Pipeline(options=PipelineOptions([*QUIET, *options]))
    except ValueError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError("--runner", reason, "Give a runner of Apache Beam") from error


def _run(pipeline: Any, work: _ChunkFunction, chunks: Sequence[tuple[Path, Sequence]]) -> None:
    import apache_beam as beam

    with pipeline:
        (
            pipeline
            | "chunks" >> beam.Create(chunks)
            | "spread" >> beam.Reshuffle()
            | "work" >> beam.Map(work)
        )


@contextmanager
def _repeated(report: Callable[[], None]) -> Iterator[None]:
    """Calls a function in another thread during this block, because some runners block in `run`."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(INTERVAL):
            with suppress(OSError):  # as of a network file system
                report()

    report()
    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    report()


@contextmanager
def _new_folder(scratch: Path, *_: object) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch, prefix="beam.", suffix=".partial") as folder:
        yield Path(folder).absolute()


@contextmanager
def _folder_of_job(
    scratch: Path, work: _ChunkFunction, chunks: Sequence[Sequence], files: Iterable[Path]
) -> Iterator[Path]:
    """Yields the folder of a job, which may contain results of the same job that was killed.

    It is deleted when the block has succeeded or raised the UserError of an item.
    """
    # The options of the pipeline are left out: more workers may continue a job.
    digest = hashlib.sha256(pickle.dumps(work))
    for items in chunks:
        digest.update(pickle.dumps(items))
    # Another release of tfod may give other results.
    for file in (*files, *sorted(Path(__file__).parent.rglob("*.py"))):
        digest.update(repr(stamp(file)).encode(errors="surrogateescape"))
    folder = scratch.absolute() / f"beam.{digest.hexdigest()[:16]}.partial"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        remedy = "Check its permissions: temporary files of --runner are written there"
        raise UserError(scratch, f"cannot be written: {error.strerror}", remedy) from error
    with locked(folder / ".tfod", folder):
        try:
            yield folder
        except _NotWrittenError:
            raise
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def stamp(file: Path) -> Stamp:
    """Returns what tells whether a file has changed; zeros if it is missing."""
    try:
        status = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), status.st_mtime_ns, status.st_size


@dataclass(frozen=True)
class _ChunkFunction:
    """Applies the function to the items of a chunk, and writes the results into a file.

    A UserError is a result. If a worker raised it, Beam would print a traceback.

    Attributes:
      function: of one item.
      folder: the current folder of the process that starts the pipeline.
    """

    function: Callable
    folder: Path

    def __call__(self, chunk: tuple[Path, Sequence]) -> None:
        file, items = chunk
        if file.exists():
            return  # Beam repeats a bundle of chunks if one of them failed
        with suppress(OSError):  # relative paths are as here, if the worker has this folder
            os.chdir(self.folder)
        results = pickle.dumps([self._apply(item) for item in items])
        with suppress(OSError):  # `beam_map` reports that the file is missing
            _write(file, results)

    def _apply(self, item: object) -> object:
        try:
            return self.function(item)
        except UserError as error:
            return error


def _write(file: Path, data: bytes) -> None:
    """Writes a file that is complete if it exists, even after a crash of the machine."""
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(descriptor, "wb") as partial:
        partial.write(data)
        partial.flush()
        os.fsync(partial.fileno())
    Path(name).replace(file)
