"""Compares the time to reach an AP50: tfod's recipe, and the model zoo's in upstream's loop.

  python tests/benchmarks/bench_recipe.py --data data/signs --init mobilenet_v2.ckpt-1

The time is from the start of the process to the first checkpoint whose AP50 on `val` reaches the
goal. Upstream is stopped while its checkpoints are evaluated, and that time is not counted. tfod
evaluates its own checkpoints, and that time is counted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from bench_train import train_upstream
from google.protobuf import text_format

import tfod  # noqa: F401  (upstream cannot be imported without it)

EVERY = 100  # steps between checkpoints
STEPS = 1500  # also in ZOO_RECIPE
# From the zoo's ssd_mobilenet_v2_fpnlite_320x320, whose training has 50,000 steps.
ZOO_RECIPE = """
  batch_size: 16
  data_augmentation_options { random_horizontal_flip { } }
  data_augmentation_options { random_crop_image {
    min_object_covered: 0.0 min_aspect_ratio: 0.75 max_aspect_ratio: 3.0
    min_area: 0.75 max_area: 1.0 overlap_thresh: 0.0
  } }
  optimizer {
    momentum_optimizer {
      learning_rate { cosine_decay_learning_rate {
        learning_rate_base: 0.04 total_steps: 1500
        warmup_learning_rate: 0.0133 warmup_steps: 100
      } }
      momentum_optimizer_value: 0.9
    }
    use_moving_average: false
  }
  num_steps: 1500
  max_number_of_boxes: 100
  unpad_groundtruth_tensors: false
  fine_tune_checkpoint_version: V2
"""


def run_upstream(data: Path, init: Path, goal: float, folder: Path) -> tuple[float, int, float]:
    """Returns seconds, steps and AP50 when the goal was reached, or at the end of training."""
    from object_detection.protos.train_pb2 import TrainConfig

    from tfod.dataset.label_map import LABEL_MAP
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import CONFIG_NAME, Options, configure, write_pipeline
    from tfod.model.templates import find_template

    dataset = load_dataset(data)
    options = Options(init=init, init_type="classification")
    config = configure(find_template("ssd_mobilenet_v2_fpnlite_320x320"), dataset, options)
    recipe = text_format.Parse(ZOO_RECIPE, TrainConfig())
    recipe.fine_tune_checkpoint = config.train_config.fine_tune_checkpoint
    recipe.fine_tune_checkpoint_type = config.train_config.fine_tune_checkpoint_type
    config.train_config.CopyFrom(recipe)
    write_pipeline(config, folder / CONFIG_NAME)
    (folder / LABEL_MAP).write_bytes((data / LABEL_MAP).read_bytes())
    command = [sys.executable, __file__, "--data", data, "--init", init]
    command += ["--upstream-folder", folder]
    started, paused, evaluated, ap50 = time.time(), 0.0, 1, 0.0
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
    # ckpt-1 is of step 0. A checkpoint is complete when the file `checkpoint` lists it.
    while process.poll() is None:
        time.sleep(0.5)
        list_file = folder / "checkpoint"
        text = list_file.read_text() if list_file.is_file() else ""
        if f'"ckpt-{evaluated + 1}"' not in text:
            continue
        process.send_signal(signal.SIGSTOP)
        stopped = time.time()
        evaluated += 1
        ap50 = evaluate_checkpoint(folder, dataset)
        print(f"upstream, step {(evaluated - 1) * EVERY}: AP50 {ap50:.3f}", flush=True)
        if ap50 >= goal:
            process.kill()
            return stopped - started - paused, (evaluated - 1) * EVERY, ap50
        paused += time.time() - stopped
        process.send_signal(signal.SIGCONT)
    if process.wait():
        raise SystemExit((folder / "log").read_text()[-3000:])
    return time.time() - started - paused, (evaluated - 1) * EVERY, ap50


def evaluate_checkpoint(folder: Path, dataset) -> float:
    from tfod.detection.detector import Detector
    from tfod.detection.prediction import predict_records
    from tfod.evaluation.metrics import evaluate

    pairs = [*predict_records(Detector.load(folder), dataset.split("val").shards)]
    ground_truth, detections = zip(*pairs, strict=True)
    return evaluate(ground_truth, detections, dataset.classes.values())[0].coco["AP50"]


def run_tfod(data: Path, init: Path, goal: float, folder: Path) -> tuple[float, int, float]:
    """Returns seconds, steps and AP50 of the last evaluation."""
    command = [sys.executable, __file__, "--data", data, "--init", init, "--goal", goal]
    started = time.time()
    subprocess.run([*map(str, command), "--tfod-folder", str(folder)], check=True)
    finished, step, ap50 = json.loads((folder / "reached.json").read_text())
    return finished - started, step, ap50


def train_tfod(data: Path, init: Path, goal: float, folder: Path) -> None:
    from tfod.dataset.manifest import load_dataset
    from tfod.model.pipeline import Options
    from tfod.model.templates import find_template
    from tfod.quiet import quiet
    from tfod.training.trainer import RunSettings, train

    quiet()

    def on_evaluation(evaluation) -> None:
        ap50 = evaluation.metrics["AP50"]
        print(f"tfod, step {evaluation.step}: AP50 {ap50:.3f}", flush=True)
        reached = json.dumps([time.time(), evaluation.step, ap50])
        (folder / "reached.json").write_text(reached)
        if ap50 >= goal:
            os._exit(0)  # the rest of the training is not measured

    template = find_template("ssd_mobilenet_v2_fpnlite_320x320")
    options = Options(init=init, init_type="classification", steps=475)
    train(
        *(load_dataset(data), str(template), folder / "run"),
        *(options, RunSettings(balance=True, eval_every=95)),
        on_evaluation=on_evaluation,
    )


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--init", type=click.Path(path_type=Path), required=True)
@click.option("--goal", default=0.75, show_default=True, help="AP50.")
@click.option("--upstream-folder", type=click.Path(path_type=Path), hidden=True)
@click.option("--tfod-folder", type=click.Path(path_type=Path), hidden=True)
def main(data, init, goal, upstream_folder, tfod_folder) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if upstream_folder:
        config = upstream_folder / "pipeline.config"
        train_upstream(config, upstream_folder, STEPS, lambda: None, EVERY)
        return
    if tfod_folder:
        train_tfod(data, init, goal, tfod_folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        results = {}
        for name, run in (("tfod", run_tfod), ("upstream", run_upstream)):
            (folder := Path(temporary) / name).mkdir()
            results[name] = run(data, init, goal, folder)
    for name, (seconds, step, ap50) in results.items():
        print(f"{name}: AP50 {ap50:.3f} at step {step} after {seconds:.0f} s")
    print(f"ratio {results['tfod'][0] / results['upstream'][0]:.2f}")


if __name__ == "__main__":
    main()
