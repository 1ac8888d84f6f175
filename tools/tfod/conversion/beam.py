"""Work on many files by an Apache Beam pipeline, on whatever runs those: Flink, Dataflow, Spark.

The same functions as `parallel` runs in local processes, with the same results in the same order.
Every worker must see the folders under the names given here (a network file system, a mounted
bucket) and have this package.
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

CHUNK = 64  # items a worker takes at once
# Beam tells each worker's steps, unless `options` asks for them again.
QUIET = ("--default_sdk_harness_log_level=WARNING",)


def beam_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    options: Sequence[str],
    scratch: Path,
    chunk: int = CHUNK,
) -> list[Result]:
    """`function(item)` for each item, in order, worked out by a Beam pipeline.

    Args:
      function: is pickled once, and so may carry much; items and results are pickled too.
      options: of the pipeline, such as `["--runner=FlinkRunner", "--flink_master=host:8081"]`.
      scratch: a folder that every worker can write to; what is written there is deleted.
      chunk: items a worker takes at once.

    Raises:
      UserError: of the first item whose `function` raised one; Beam is missing; an option or
        runner that it does not know.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        remedy = "Install it: pip install --only-binary apache-beam apache-beam"
        raise UserError("--runner", "needs apache-beam", remedy) from error

    chunks = [(at, items[at : at + chunk]) for at in range(0, len(items), chunk)]
    with tempfile.TemporaryDirectory(dir=scratch, prefix="beam.", suffix=".partial") as folder:
        results = Path(folder) / "results"
        try:
            pipeline = beam.Pipeline(options=PipelineOptions([*QUIET, *options]))
        except ValueError as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise UserError("--runner", reason, "Name a runner of Apache Beam") from error
        with pipeline:
            (
                pipeline
                | "chunks" >> beam.Create(chunks)
                | "spread" >> beam.Reshuffle()
                | "work" >> beam.Map(_Work(function))
                | "keep" >> beam.io.WriteToTFRecord(str(results), coder=beam.coders.BytesCoder())
            )
        done = {}
        for file in sorted(Path(folder).glob("results*")):
            done.update(pickle.loads(data) for data in tfrecord.read_file(file))
    together = [result for at, _ in chunks for result in done[at]]
    for result in together:
        if isinstance(result, UserError):
            raise result
    return together


class _Work:
    """What a worker does with a chunk. A UserError is a result: Beam tells others as tracebacks."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, chunk: tuple[int, Sequence]) -> bytes:
        at, items = chunk
        return pickle.dumps((at, [self._one(item) for item in items]))

    def _one(self, item: object) -> object:
        try:
            return self.function(item)
        except UserError as error:
            return error
