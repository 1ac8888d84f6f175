"""Compares the time and the metrics of `tfod evaluate` and upstream's `eager_eval_loop`.

  python tests/benchmarks/bench_evaluate.py --run runs/signs --data data/signs --split train

Both evaluate the best checkpoint of the run on the same images. Times are of complete processes,
which run alternately. An object of exactly 32 x 32 pixels is both small and medium by COCO's
definition, and in tfod; upstream computes an area of 1024.0002, which is only medium.
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

import tfod  # noqa: F401  (upstream cannot be imported without it)

# Upstream's names, in the order of `tfod.evaluation.coco_evaluation.COCO_NAMES`.
NAMES = [
    *("mAP", "mAP@.50IOU", "mAP@.75IOU", "mAP (small)", "mAP (medium)", "mAP (large)"),
    *("AR@1", "AR@10", "AR@100", "AR@100 (small)", "AR@100 (medium)", "AR@100 (large)"),
]


def evaluate_upstream(run: Path, data: Path, split: str) -> list[float]:
    """Evaluates one checkpoint as `eval_continuously` does, without waiting for the next."""
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
    dataset = inputs.eval_input(
        eval_config=configs["eval_config"],
        eval_input_config=reader,
        model_config=configs["model"],
        model=model,
    )
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step, model=model)
    checkpoint.restore(tf.train.latest_checkpoint(str(run / "best"))).expect_partial()
    metrics = model_lib_v2.eager_eval_loop(model, configs, dataset, global_step=step)
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
    arguments = ["--data", data, "--split", split]
    seconds: dict[str, list[float]] = {"upstream": [], "tfod": []}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(run, Path(temporary) / "run"))
        commands = {
            "upstream": [__file__, "--upstream", "--run", copy, *arguments],
            "tfod": ["-m", "tfod", "evaluate", "--run", copy, *arguments],
        }
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(run_python(*command)[0])
        upstream_metrics = json.loads((copy / "upstream.json").read_text())
        tfod_metrics = json.loads((copy / "metrics.json").read_text())
    report(seconds, upstream_metrics, tfod_metrics["coco"], tfod_metrics["images"])


def report(
    seconds: dict[str, list[float]],
    upstream_metrics: list[float],
    tfod_metrics: dict[str, float | None],
    images: int,
) -> None:
    print_medians(f"{images} images, complete processes", "seconds", seconds)
    table = Table()
    for heading in ("", "upstream", "tfod", "difference"):
        table.add_column(heading, justify="right" if heading else "left")
    for (name, value), reference in zip(tfod_metrics.items(), upstream_metrics, strict=True):
        value = -1.0 if value is None else value
        table.add_row(name, f"{reference:.5f}", f"{value:.5f}", f"{value - reference:+.1e}")
    Console().print(table)


if __name__ == "__main__":
    main()
