"""Runs the work on many files in an Apache Beam pipeline, on Flink, Dataflow or Spark.

It runs the same functions as the local processes of `parallel`, with the same results in the same
order. Every worker must have this package, and access to the folders under the same paths as here
(a network file system, a mounted bucket).
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tfod.dataset import tfrecord
from tfod.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 64  # items per task of a worker
# Without it, Beam prints log output of every worker. `options` can override it.
QUIET = ("--default_sdk_harness_log_level=WARNING",)


def beam_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    options: Sequence[str],
    scratch: Path,
    chunk: int = CHUNK,
) -> list[Result]:
    """Returns `function(item)` for each item, in order, computed by a Beam pipeline.

    Args:
      function: is pickled once, so it may contain large data; items and results are pickled too.
      options: pipeline options, such as `["--runner=FlinkRunner", "--flink_master=host:8081"]`.
      scratch: a folder that every worker can write to; its temporary files are deleted at the end.
      chunk: items per task of a worker.

    Raises:
      UserError: raised by `function`, for the first such item; or Beam is not installed; or it does
        not know an option or the runner.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        remedy = "Install it: pip install --only-binary apache-beam apache-beam"
        raise UserError("--runner", "needs apache-beam", remedy) from error

    starts = range(0, len(items), chunk)
    chunks = [(start, items[start : start + chunk]) for start in starts]
    with tempfile.TemporaryDirectory(dir=scratch, prefix="beam.", suffix=".partial") as folder:
        results = Path(folder) / "results"
        try:
            pipeline = beam.Pipeline(options=PipelineOptions([*QUIET, *options]))
        except ValueError as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise UserError("--runner", reason, "Give a runner of Apache Beam") from error
        with pipeline:
            (
                pipeline
                | "chunks" >> beam.Create(chunks)
                | "spread" >> beam.Reshuffle()
                | "work" >> beam.Map(_ChunkFunction(function))
                | "keep" >> beam.io.WriteToTFRecord(str(results), coder=beam.coders.BytesCoder())
            )
        results_by_chunk: dict[int, list] = {}
        for file in sorted(Path(folder).glob("results*")):
            results_by_chunk.update(pickle.loads(data) for data in tfrecord.read_file(file))
    all_results = [result for start in starts for result in results_by_chunk[start]]
    for result in all_results:
        if isinstance(result, UserError):
            raise result
    return all_results


class _ChunkFunction:
    """Applies the function to a chunk. Returns a UserError as a result.

    If a worker raised it, Beam would print a traceback.
    """

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, chunk: tuple[int, Sequence]) -> bytes:
        start, items = chunk
        return pickle.dumps((start, [self._apply(item) for item in items]))

    def _apply(self, item: object) -> object:
        try:
            return self.function(item)
        except UserError as error:
            return error
