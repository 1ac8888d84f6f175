"""Tests `training.trainer`: errors, Ctrl-C, and which folders it writes; without a model."""

from __future__ import annotations

import math
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner

from helpers.checkpoints import tf_latest, variables
from helpers.stub_learner import StubLearner
from tfod.cli import main
from tfod.dataset.manifest import load_dataset
from tfod.errors import UserError
from tfod.evaluation.metrics import Metrics
from tfod.model.pipeline import (
    Options,
    learning_rate_schedule,
    read_pipeline,
    write_pipeline,
)
from tfod.training import strategy
from tfod.training.events import WorkerLostError
from tfod.training.input import IndexedRecords
from tfod.training.trainer import RunSettings, train

pytestmark = pytest.mark.usefixtures("stub_learner")
OPTIONS = Options(steps=2, batch_size=2)


def step_of(run: Path) -> int:
    """Returns the number of steps in the newest checkpoint of a run."""
    return int(variables(Path(tf_latest(run)))["step/.ATTRIBUTES/VARIABLE_VALUE"])


@pytest.fixture
def own_data(data, tmp_path):
    """A copy of the data set, which a test may damage."""
    return load_dataset(Path(shutil.copytree(data.folder, tmp_path / "data" / "signs")))


@pytest.mark.parametrize("output", ["data/signs", "data"])
def test_overwrite_does_not_replace_the_data_set(output, own_data, tiny_template, tmp_path):
    message = f"would replace {own_data.folder}. Choose another --output"
    with pytest.raises(UserError, match=message):
        train(own_data, str(tiny_template), tmp_path / output, OPTIONS, overwrite=True)
    assert load_dataset(own_data.folder) == own_data


def test_overwrite_replaces_only_runs_and_not_the_initial_checkpoint(data, tiny_template, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    train(data, str(tiny_template), run, OPTIONS)
    train(data, str(tiny_template), run, replace(OPTIONS, steps=3), overwrite=True)
    checkpoint = Path(tf_latest(run))
    with pytest.raises(UserError, match=f"run: would replace {checkpoint}"):
        options = replace(OPTIONS, init=checkpoint)
        train(data, str(tiny_template), run, options, overwrite=True)
    (run / "notes.txt").touch()
    with pytest.raises(UserError, match=r"run: contains notes\.txt, which is not part of a run"):
        train(data, str(tiny_template), run, OPTIONS, overwrite=True)
    assert tf_latest(run) == str(checkpoint)
    other.mkdir()
    (other / "notes.txt").touch()
    for overwrite, message in ((True, "is not a run folder"), (False, "exists and is not a run")):
        with pytest.raises(UserError, match=f"other: {message}.* Choose another --output"):
            train(data, str(tiny_template), other, OPTIONS, overwrite=overwrite)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_only_one_process_trains_in_a_run_folder(data, tiny_template, tmp_path):
    run = tmp_path / "run"

    def train_there_too(step):
        files = sorted(path.name for path in run.iterdir())
        for overwrite in (False, True):
            with pytest.raises(UserError, match="run: is being written by another tfod"):
                train(data, str(tiny_template), run, options, overwrite=overwrite)
        assert sorted(path.name for path in run.iterdir()) == files
        refused.append(step.number)

    for options in (OPTIONS, replace(OPTIONS, steps=3)):  # a new run, and one that replaces it
        refused: list[int] = []
        train(data, str(tiny_template), run, options, overwrite=True, on_step=train_there_too)
        assert len(refused) == options.steps
    train(data, str(tiny_template), run, replace(OPTIONS, steps=3))  # nobody trains there now


def test_other_settings_of_a_run_are_named(data, tiny_template, tmp_path):
    run = tmp_path / "run"
    train(data, str(tiny_template), run, OPTIONS)
    train(data, str(tiny_template), tmp_path / "first", OPTIONS)
    init = Path(tf_latest(tmp_path / "first"))
    schedule = learning_rate_schedule(read_pipeline(run / "pipeline.config").train_config)
    rate = f"{schedule.learning_rate_base:.6g}"
    for options, settings, differences in (
        ({"batch_size": 1}, {}, "--batch-size was 2, now 1"),
        ({"learning_rate": 0.5}, {}, f"--learning-rate was {rate}, now 0.5"),
        (
            {"init": init, "init_type": "full"},
            {},
            f"--init was scratch, now {init}; --init-type was not set, now full",
        ),
        (
            {},
            {"eval_every": 9, "deterministic": True, "losses": "tight", "precision": "float32"},
            "--eval-every was not set, now 9; --deterministic was not set, now set; "
            "--losses was template, now tight",
        ),
        ({"steps": 1}, {"keep": 1}, "--steps was 2, now 1; --keep was 3, now 1"),
        ({"steps": 3}, {"keep": 1}, "--keep was 3, now 1"),  # more steps would continue the run
    ):
        with pytest.raises(UserError) as caught:
            changed = replace(OPTIONS, **options)
            train(data, str(tiny_template), run, changed, RunSettings(**settings))
        assert str(caught.value) == (
            f"{run}: contains a run with other settings: {differences}. Repeat its command to "
            "resume it, choose another --output, or replace it with --overwrite."
        )


def test_other_data_and_another_template_are_named(data, own_data, tiny_template, tmp_path):
    run, template = tmp_path / "run", tmp_path / "pipeline.config"
    train(data, str(tiny_template), run, OPTIONS)
    with pytest.raises(UserError, match=f"--data was {data.folder}, now {own_data.folder}. Repeat"):
        train(own_data, str(tiny_template), run, OPTIONS)
    pipeline = read_pipeline(tiny_template)
    pipeline.model.ssd.image_resizer.fixed_shape_resizer.height = 128
    write_pipeline(pipeline, template)
    field = "model.ssd.image_resizer.fixed_shape_resizer.height"
    with pytest.raises(UserError, match=f"--input-size has changed, in {field}. Repeat"):
        train(data, str(template), run, OPTIONS)
    more = replace(data.splits["train"], most_objects=500)
    changed = replace(data, splits={**data.splits, "train": more})
    field = "train_input_reader.max_number_of_boxes"
    with pytest.raises(UserError, match=f"settings: --data has changed, in {field}. Repeat"):
        train(changed, str(tiny_template), run, OPTIONS)


def test_run_can_start_in_an_empty_folder(data, tiny_template, tmp_path, monkeypatch):
    output = tmp_path / "run"
    output.mkdir()
    assert train(data, str(tiny_template), output, OPTIONS) == output / "best" / "ckpt-1"
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    with pytest.raises(UserError, match=r"\.: is not a folder name"):  # it could not be renamed
        train(data, str(tiny_template), Path(), OPTIONS)


def test_best_step_stays_the_best_if_ctrl_c_interrupts_saving_it(
    data, tiny_template, tmp_path, monkeypatch
):
    def interrupt(metrics, path):
        raise KeyboardInterrupt

    output, evaluations = tmp_path / "run", []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Metrics, "write", interrupt)
        train(data, str(tiny_template), output, OPTIONS)
    train(data, str(tiny_template), output, OPTIONS, on_evaluation=evaluations.append)
    assert [(evaluation.step, evaluation.best) for evaluation in evaluations] == [
        (1, True),
        (2, False),
    ]
    assert (output / "best" / "metrics.json").is_file()


def test_damaged_record_is_reported(own_data, tiny_template, tmp_path, monkeypatch):
    shard = own_data.splits["train"].shards[0]
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)

    def read_all(learner, seed, balance, size):
        records = IndexedRecords([str(shard)], learner.read_errors.append)
        return tf.data.Dataset.range(len(records)).map(
            lambda index: (tf.numpy_function(records.read, [index], tf.string), 0)
        )

    monkeypatch.setattr(StubLearner, "training_batches", read_all)
    with pytest.raises(UserError, match=f"{shard}: is damaged: a checksum does not match"):
        train(own_data, str(tiny_template), tmp_path / "run", OPTIONS)


@pytest.mark.parametrize(
    ("raised", "reported"),
    [
        (tf.errors.UnavailableError, WorkerLostError),
        (tf.errors.FailedPreconditionError, WorkerLostError),
        (tf.errors.InvalidArgumentError, tf.errors.InvalidArgumentError),
    ],
)
@pytest.mark.parametrize("saving", [False, True])
def test_only_the_errors_of_a_lost_worker_are_reported_as_such(
    raised, reported, saving, data, tiny_template, tmp_path, monkeypatch
):
    def raise_error(*arguments, **options):
        raise raised(None, None, "message of TensorFlow")

    def lose_worker(step):
        monkeypatch.setattr(strategy, "worker_count", lambda strategy: 2)
        if saving:
            monkeypatch.setattr(tf.train.CheckpointManager, "save", raise_error)
        else:
            raise_error()

    if saving and reported is not WorkerLostError:
        reported = UserError  # cannot be written
    with pytest.raises(reported) as caught:
        train(data, str(tiny_template), tmp_path / "run", OPTIONS, on_step=lose_worker)
    assert caught.type is reported
    assert reported is not WorkerLostError or caught.value.made_progress


@pytest.mark.parametrize("loss", [1e12, math.inf, math.nan])
def test_exploding_loss_is_reported_and_the_last_checkpoint_is_kept(
    loss, data, tiny_template, tmp_path, stub_learner
):
    stub_learner(lambda step: loss if step == 3 else 1.0)
    output = tmp_path / "run"
    with pytest.raises(UserError) as caught:
        settings = RunSettings(checkpoint_every=1, eval_every=30)
        train(data, str(tiny_template), output, Options(steps=30, batch_size=2), settings)
    line = str(caught.value)
    assert line.startswith(f"{output}: the loss of step 3 is {loss:g}. ")
    assert "Train into another --output with a --learning-rate below 0.1" in line
    checkpoint = Path(tf_latest(output))
    assert f"{checkpoint} was saved before this step" in line
    assert 1 <= variables(checkpoint)["step/.ATTRIBUTES/VARIABLE_VALUE"] < 30


def test_a_loss_that_is_nan_in_float16_is_reported(
    data, tiny_template, tmp_path, stub_learner, monkeypatch
):
    stub_learner(lambda step: math.nan)
    monkeypatch.setattr(StubLearner, "scales_losses", True)
    remedy = "with a --learning-rate below 0.1 or --precision float32"
    with pytest.raises(UserError, match=f"the loss of step 1 is nan. .* {remedy}"):
        train(data, str(tiny_template), tmp_path / "run", OPTIONS)


def test_many_skipped_steps_are_noted_and_training_goes_on(
    data, tiny_template, tmp_path, monkeypatch
):
    def skip(learner, features, labels):
        learner.skipped_steps = 0 if learner.steps_done == 3 else learner.skipped_steps + 1
        return original(learner, features, labels)

    original, notes, steps = StubLearner.train, [], []
    monkeypatch.setattr(StubLearner, "train", skip)
    train(
        *(data, str(tiny_template), tmp_path / "run", Options(steps=18, batch_size=2)),
        on_note=notes.append,
        on_step=steps.append,
    )
    assert len(steps) == 18
    assert notes == [
        "the gradients of 10 steps in a row overflowed in float16: these steps changed no "
        "weights. If this happens again, use --precision float32"
    ]


def test_a_run_resumes_with_another_precision_and_in_parts(data, tiny_template, tmp_path):
    run, numbers = tmp_path / "run", []
    for steps, precision, parts in ((2, "float32", 1), (3, "auto", 2)):
        train(
            *(data, str(tiny_template), run, replace(OPTIONS, steps=steps)),
            RunSettings(precision=precision, accumulate=parts),
            on_step=lambda step: numbers.append(step.number),
        )
    assert numbers == [1, 2, 3]


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("OOM when allocating tensor", "--batch-size: is 3, and a batch of 3 images does not fit"),
        ("events; No space left on device", "run: cannot be written: events; No space left"),
    ],
)
def test_exhausted_memory_and_disk_are_reported(data, tiny_template, tmp_path, reason, line):
    def raise_error(step):  # TensorFlow's messages for GPU memory and for a disk
        raise tf.errors.ResourceExhaustedError(None, None, reason)

    with pytest.raises(UserError, match=line):
        train(
            data, str(tiny_template), tmp_path / "run", Options(batch_size=3), on_step=raise_error
        )


def test_after_exhausted_memory_parts_or_the_same_command_work(
    data, tiny_template, tmp_path, monkeypatch
):
    def tfod_train(*options):
        command = ["train", "--data", data.folder, "--pipeline", tiny_template, "--output", run]
        command += ["--init", "scratch", "--steps", 4, "--checkpoint-every", 1, *options]
        return CliRunner().invoke(main, list(map(str, command)))

    def exhaust_memory_in(step):
        def train_step(learner, features, labels):
            if learner.steps_done + 1 == step:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return original(learner, features, labels)

        monkeypatch.setattr(StubLearner, "train", train_step)

    run, original = tmp_path / "run", StubLearner.train
    for batch_size, step, remedy in (
        (1, 1, "Choose a smaller model or --input-size."),
        (
            4,
            1,
            "Repeat the command with --accumulate 2, which processes each batch in 2 parts.",
        ),
        (
            3,
            3,
            "If other programs use the memory, stop them and repeat the command to resume. "
            "Otherwise resume with --accumulate 3, which processes each batch in 3 parts.",
        ),
    ):
        exhaust_memory_in(step)
        result = tfod_train("--batch-size", batch_size, "--overwrite")
        assert result.exit_code == 2
        assert (
            f"--batch-size: is {batch_size}, and a batch of {batch_size} images does not fit into "
            f"memory. {remedy}"
        ) in " ".join(result.output.split())
    monkeypatch.setattr(StubLearner, "train", original)
    assert step_of(run) == 2
    result = tfod_train("--batch-size", 3, "--accumulate", 3)
    assert result.exit_code == 0, result.output
    assert step_of(run) == 4


def test_full_disk_is_reported(data, tiny_template, tmp_path):
    output, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill_up(step):
        if step.number == 2:  # from here on no file can exceed 100 kB, less than a checkpoint
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    settings = RunSettings(checkpoint_every=2, eval_every=5)
    try:
        with pytest.raises(UserError) as caught:
            options = Options(steps=5, batch_size=2)
            train(data, str(tiny_template), output, options, settings, on_step=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value).startswith(f"{output}: cannot be written: ")
    assert "then repeat the command to resume, without --overwrite" in str(caught.value)


@pytest.mark.parametrize("template", ["faster_rcnn_resnet50_v1_640x640", "simple_cnn"])
def test_tight_losses_need_an_ssd_model_with_anchors(data, tmp_path, template):
    settings = RunSettings(losses="tight")
    message = "--losses: tight only works for SSD models with anchors and a fixed input size"
    with pytest.raises(UserError, match=message):
        train(data, template, tmp_path / "run", OPTIONS, settings)
    assert not (tmp_path / "run").exists()
