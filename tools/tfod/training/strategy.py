"""Where training computes: one device, all GPUs of a machine, several machines, or a TPU."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from tfod.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
AUTO, ONE_DEVICE, MIRRORED, MULTI_WORKER, TPU = STRATEGIES


def make_strategy(name: str = AUTO) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy of a name; to be made before anything else of TensorFlow is.

    GPUs take memory as they need it, not all there is at once.

    Args:
      name: of `STRATEGIES`. `auto` is `multi_worker` where `TF_CONFIG` names several workers,
        `mirrored` where there are several GPUs, and `one_device` else.

    Raises:
      UserError: what the strategy wants is not there.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the program that calls has used it already, in its own way
            break
    named = _workers_named()
    if name == AUTO:
        name = MULTI_WORKER if named > 1 else MIRRORED if len(gpus) > 1 else ONE_DEVICE
    if name == MULTI_WORKER:
        if not named:
            raise UserError(
                "--strategy multi_worker",
                "finds no TF_CONFIG in the environment",
                'Set it on each machine: {"cluster": {"worker": ["HOST:PORT", …]}, "task": '
                '{"type": "worker", "index": 0}}',
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == MIRRORED:
        return tf.distribute.MirroredStrategy([f"GPU:{n}" for n in range(len(gpus))] or _cpus())
    if name == TPU:
        return _tpu()
    return tf.distribute.get_strategy()


def gpu_left_out() -> bool:
    """Whether this machine has an NVIDIA GPU that TensorFlow cannot use, and nobody hid it."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU") or "CUDA_VISIBLE_DEVICES" in os.environ:
        return False
    try:
        seen = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return seen.returncode == 0


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes the run folder."""
    return not workers(strategy) or strategy.cluster_resolver.task_id == 0


def workers(strategy: tf.distribute.Strategy) -> int:
    """How many processes share the run; 0 where there is one only."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0
    return len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", ()))


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has come here."""
    import tensorflow as tf

    if not workers(strategy):
        return

    @tf.function(autograph=False)
    def meet() -> tf.Tensor:
        one = strategy.run(lambda: tf.constant(1.0))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, one, axis=None)

    meet()


def _workers_named() -> int:
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return len(cluster.get("worker", ()))
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError("TF_CONFIG", f"is no JSON of a cluster: {error}", "Mend it") from error


def _cpus() -> list[str]:
    """Logical CPUs: TensorFlow has one, unless a program asked it for more."""
    import tensorflow as tf

    return [f"CPU:{n}" for n in range(len(tf.config.list_logical_devices("CPU")))]


def _tpu() -> tf.distribute.Strategy:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    except ValueError as error:
        raise UserError("--strategy tpu", "finds no TPU", "Choose a machine with one") from error
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
