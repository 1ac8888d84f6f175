"""Distributes training: one device, all GPUs of a machine, or several machines."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError
from tfod.training.events import WorkerLostError

if TYPE_CHECKING:
    import tensorflow as tf

AUTO, ONE_DEVICE, MIRRORED, MULTI_WORKER = STRATEGIES = (
    "auto",
    "one_device",
    "mirrored",
    "multi_worker",
)


def make_strategy(
    name: str = AUTO, on_note: Callable[[str], None] = lambda note: None
) -> tf.distribute.Strategy:
    """Returns a `tf.distribute` strategy. Call this before any other use of TensorFlow.

    GPU memory is allocated as needed, not all at once. With several workers, this function returns
    when all of them have called it.

    Args:
      name: one of `STRATEGIES`. `auto` is `multi_worker` if `TF_CONFIG` names several workers,
        `mirrored` if there are several GPUs, and `one_device` otherwise.
      on_note: called with the addresses of the workers that this one waits for.

    Raises:
      UserError: `TF_CONFIG` is missing or invalid, or the workers cannot be connected.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the calling program has already initialized the GPU
            break
    configured = _configured_workers()
    if name == AUTO:
        name = MULTI_WORKER if configured > 1 else MIRRORED if len(gpus) > 1 else ONE_DEVICE
    if name == MULTI_WORKER:
        if not configured:
            raise UserError(
                "--strategy multi_worker",
                "needs the environment variable TF_CONFIG",
                'Set it on each machine: {"cluster": {"worker": ["HOST:PORT", …]}, "task": '
                '{"type": "worker", "index": 0}}',
            )
        return _connect_workers(on_note)
    if name == MIRRORED:
        devices = [f"GPU:{index}" for index in range(len(gpus))]
        return tf.distribute.MirroredStrategy(devices or _logical_cpus())
    return tf.distribute.get_strategy()


def has_unused_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU that TensorFlow cannot use.

    A GPU hidden with `CUDA_VISIBLE_DEVICES` does not count.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU") or "CUDA_VISIBLE_DEVICES" in os.environ:
        return False
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run folder: the chief, or else the first worker."""
    if not worker_count(strategy):
        return True
    resolver = strategy.cluster_resolver
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_id == 0)


def worker_count(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that share the run; 0 without `multi_worker`."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0
    return _count_workers(strategy.cluster_resolver.cluster_spec().as_dict())


def is_lost_worker(error: tf.errors.OpError, strategy: tf.distribute.Strategy) -> bool:
    """Whether an error means that another process of the run has stopped."""
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.FailedPreconditionError,  # the other process has already started again
    )
    return isinstance(error, lost) and worker_count(strategy) > 0


@contextmanager
def lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Raises a `WorkerLostError`, without progress, for an error of a worker that has stopped."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if is_lost_worker(error, strategy):
            raise WorkerLostError(False) from error
        raise


def wait_for_workers(strategy: tf.distribute.Strategy) -> None:
    """Blocks until every worker has called this function."""
    if worker_count(strategy):
        _mean(strategy, 1)


def first_then_others(strategy: tf.distribute.Strategy, function: Callable[[], None]) -> None:
    """Calls a function in the first worker, and then in the others. Not without `multi_worker`."""
    if not worker_count(strategy):
        return
    if is_chief(strategy):
        function()
    wait_for_workers(strategy)
    if not is_chief(strategy):
        function()


def check_same_step(strategy: tf.distribute.Strategy, step: int, output: Path) -> None:
    """Checks that all workers have restored the same step, or none. They would not notice it.

    Args:
      output: the run folder, for the message.

    Raises:
      UserError: another worker has restored another one.
    """
    if worker_count(strategy) and _mean(strategy, step) != step:
        what = f"this worker resumes after step {step}, and another one after another step"
        remedy = "Check that all workers read the same run folder, and repeat the command on all"
        raise UserError(output, what, remedy)


def is_true_for_chief(strategy: tf.distribute.Strategy, condition: bool) -> bool:
    """Returns the condition of the worker that writes the run folder, whose files others lack."""
    if not worker_count(strategy):
        return condition
    return _mean(strategy, int(condition and is_chief(strategy))) > 0


def _mean(strategy: tf.distribute.Strategy, value: int) -> float:
    """Returns the mean of the values with which the workers call this function."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def all_reduce() -> tf.Tensor:
        own = strategy.run(lambda: tf.constant(value, tf.float64))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, own, axis=None)

    return float(all_reduce())


def _connect_workers(on_note: Callable[[str], None]) -> tf.distribute.Strategy:
    """Returns the strategy of several machines. Waits until all of them have started."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        cluster = resolver.cluster_spec()
        addresses = [address for job in cluster.jobs for address in cluster.job_tasks(job)]
        on_note(f"waiting until all workers have started: {', '.join(addresses)}")
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, TypeError) as error:
        raise _invalid_cluster(error) from error
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        if "Could not start gRPC server" in reason:
            address = cluster.task_address(resolver.task_type, resolver.task_id)
            what = f"names {address} for this worker, and the port cannot be opened"
            remedy = "End the program that uses it, or choose another port for this worker"
        else:
            what = f"names workers that cannot be connected: {reason}"
            remedy = "Check the addresses, and run the same command on all machines"
        raise UserError("TF_CONFIG", what, remedy) from error


def _configured_workers() -> int:
    """Returns the number of workers in `TF_CONFIG`, with the chief; 0 if it is not set."""
    try:
        return _count_workers(json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise _invalid_cluster(error) from error


def _invalid_cluster(error: Exception) -> UserError:
    return UserError(
        "TF_CONFIG",
        f"is not a valid cluster description: {str(error).rstrip('.')}",
        'Set it to JSON such as {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": '
        '"worker", "index": 0}}, or unset it',
    )


def _count_workers(cluster: dict) -> int:
    return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))


def _logical_cpus() -> list[str]:
    """Returns the logical CPU devices: one, unless the calling program configured more."""
    import tensorflow as tf

    return [f"CPU:{index}" for index in range(len(tf.config.list_logical_devices("CPU")))]
