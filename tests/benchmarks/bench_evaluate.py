"""Times `tfod evaluate` against upstream's `eager_eval_loop`: whole processes, in turns.

  python tests/benchmarks/bench_evaluate.py --run runs/signs --data data/signs --split train

Both judge the run's best checkpoint on the same pictures. The twelve numbers are compared too. An
object of exactly 32 x 32 pixels is small and medium by COCO's definition, and so here; upstream
computes 1024.0002, and then it is medium only.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from whole_process import print_medians, run_python

import tfod  # noqa: F401  (upstream does not load without it)

# Upstream's names, in the order of `tfod.evaluation.metrics.COCO_NAMES`.
NAMES = [
    *("mAP", "mAP@.50IOU", "mAP@.75IOU", "mAP (small)", "mAP (medium)", "mAP (large)"),
    *("AR@1", "AR@10", "AR@100", "AR@100 (small)", "AR@100 (medium)", "AR@100 (large)"),
]


def evaluate_upstream(run: Path, data: Path, split: str) -> list[float]:
    """As `eval_continuously` does for a checkpoint, without waiting for a next one."""
    import tensorflow as tf
    from object_detection import inputs, model_lib_v2
    from object_detection.builders import model_builder
    from object_detection.utils import config_util

    from tfod.dataset.manifest import load_dataset

    configs = config_util.get_configs_from_pipeline_file(str(run / "pipeline.config"))
    reader = configs["eval_input_config"]
    shards = load_dataset(data).split(split).shards
    reader.tf_record_input_reader.input_path[:] = list(map(str, shards))
    reader.num_epochs = 1
    reader.shuffle = False
    model = model_builder.build(configs["model"], is_training=True)
    pictures = inputs.eval_input(
        eval_config=configs["eval_config"],
        eval_input_config=reader,
        model_config=configs["model"],
        model=model,
    )
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step, model=model)
    checkpoint.restore(tf.train.latest_checkpoint(str(run / "best"))).expect_partial()
    metrics = model_lib_v2.eager_eval_loop(model, configs, pictures, global_step=step)
    kinds = ("Precision", "Recall")
    return [
        float(metrics[f"DetectionBoxes_{kinds[number // 6]}/{name}"])
        for number, name in enumerate(NAMES)
    ]


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--split", default="train", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--upstream", is_flag=True, hidden=True)
def main(run: Path, data: Path, split: str, rounds: int, upstream: bool) -> None:
    if upstream:
        (run / "upstream.json").write_text(json.dumps(evaluate_upstream(run, data, split)))
        return
    given = ["--data", data, "--split", split]
    seconds: dict[str, list[float]] = {"upstream": [], "tfod": []}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(run, Path(temporary) / "run"))
        commands = {
            "upstream": [__file__, "--upstream", "--run", copy, *given],
            "tfod": ["-m", "tfod", "evaluate", "--run", copy, *given],
        }
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(run_python(*command)[0])
        theirs = json.loads((copy / "upstream.json").read_text())
        ours = json.loads((copy / "metrics.json").read_text())
    report(seconds, theirs, ours["coco"], ours["images"])


def report(
    seconds: dict[str, list[float]], theirs: list[float], ours: dict[str, float | None], images: int
) -> None:
    print_medians(f"{images} pictures, whole processes", "seconds", seconds)
    table = Table()
    for heading in ("", "upstream", "tfod", "difference"):
        table.add_column(heading, justify="right" if heading else "left")
    for (name, value), other in zip(ours.items(), theirs, strict=True):
        value = -1.0 if value is None else value
        table.add_row(name, f"{other:.5f}", f"{value:.5f}", f"{value - other:+.1e}")
    Console().print(table)


if __name__ == "__main__":
    main()
