"""A stub of `training.learner.Learner`, to test the training loop without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfod.model.pipeline import set_steps


class StubLearner:
    """Counts steps, reports chosen losses and detects nothing. Checkpoints take 200 kB.

    Args:
      loss: the loss of a step, by its number. The other arguments are those of `Learner`.
    """

    scales_losses = False
    skipped_steps = 0

    def __init__(
        self,
        loss: Callable[[int], float],
        pipeline,
        settings,
        resumes,
        precision,
        strategy,
    ):
        checkpoint = pipeline.train_config.fine_tune_checkpoint
        assert resumes or not checkpoint or Path(f"{checkpoint}.index").is_file()
        self.loss, self.strategy, self.read_errors = loss, strategy, []
        self.kept_classes: tuple[str, ...] = ()
        self.config = pipeline.train_config
        self.step = tf.Variable(0, dtype=tf.int64)
        self.model = tf.Module()
        self.model.weights = tf.Variable(np.random.default_rng(settings.seed).normal(size=25_000))

    @property
    def steps_done(self) -> int:
        return int(self.step)

    def set_steps(self, steps: int) -> None:
        set_steps(self.config, steps)

    def learning_rate(self) -> float:
        return 0.1

    def checkpoint(self) -> tf.train.Checkpoint:
        return tf.train.Checkpoint(step=self.step, model=self.model)

    def training_batches(
        self, seed: int, balance: bool, size: int | None
    ) -> Iterator[tuple[dict, dict]]:
        return (({}, {}) for _ in range(self.steps_done, self.config.num_steps))

    def validation_batches(self) -> list[tuple[dict, dict]]:
        return [({}, {})]

    def train(self, features: dict, labels: dict) -> dict[str, float]:
        self.step.assign_add(1)
        return {"Loss/total_loss": self.loss(self.steps_done)}

    def evaluate(self, features: dict, labels: dict):
        batch = 64  # more than there are images in the val split
        return {"Loss/total_loss": 1.0}, (
            np.zeros([batch, 0, 4], np.float32),
            np.zeros([batch, 0], np.float32),
            np.zeros([batch, 0]),
        )

    def averaged(self) -> nullcontext:
        return nullcontext()
