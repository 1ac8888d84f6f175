"""Times how long it takes to learn: our recipe against the model zoo's in upstream's own loop.

  python tests/benchmarks/bench_recipe.py --data data/signs --init mobilenet_v2.ckpt-1

Each is a whole process, from its start to the checkpoint with which AP50 on `val` first reaches the
goal. Upstream stands still while its checkpoints are judged, and that time is not counted; ours is
judged by itself, and that time is.
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

import tfod  # noqa: F401  (upstream does not load without it)

EVERY = 100  # steps between checkpoints
# Of the zoo's ssd_mobilenet_v2_fpnlite_320x320, its 50,000 steps cut down to so few.
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


def upstream(data: Path, init: Path, goal: float, folder: Path) -> tuple[float, int, float]:
    """Seconds, steps and the AP50 then: the goal, or what there was at the end."""
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
    command = [sys.executable, __file__, "--data", data, "--init", init, "--upstream-in", folder]
    started, still, judged, ap50 = time.time(), 0.0, 1, 0.0
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
    # The first is of step 0; each is there once the file that names it has been renamed.
    while process.poll() is None:
        time.sleep(0.5)
        listed = folder / "checkpoint"
        text = listed.read_text() if listed.is_file() else ""
        if f'"ckpt-{judged + 1}"' not in text:
            continue
        process.send_signal(signal.SIGSTOP)
        stopped = time.time()
        judged += 1
        ap50 = judge_checkpoint(folder, dataset)
        print(f"upstream, step {(judged - 1) * EVERY}: AP50 {ap50:.3f}", flush=True)
        if ap50 >= goal:
            process.kill()
            return stopped - started - still, (judged - 1) * EVERY, ap50
        still += time.time() - stopped
        process.send_signal(signal.SIGCONT)
    if process.wait():
        raise SystemExit((folder / "log").read_text()[-3000:])
    return time.time() - started - still, (judged - 1) * EVERY, ap50


def judge_checkpoint(folder: Path, dataset) -> float:
    from tfod.detection.detector import Detector
    from tfod.detection.prediction import predict_records
    from tfod.evaluation.metrics import evaluate

    pairs = [*predict_records(Detector.load(folder), dataset.split("val").shards)]
    truths, found = zip(*pairs, strict=True)
    return evaluate(truths, found, dataset.classes.values())[0].coco["AP50"]


def ours(data: Path, init: Path, goal: float, folder: Path) -> tuple[float, int, float]:
    command = [sys.executable, __file__, "--data", data, "--init", init, "--goal", goal]
    started = time.time()
    subprocess.run([*map(str, command), "--ours-in", str(folder)], check=True)
    at, step, ap50 = json.loads((folder / "reached.json").read_text())
    return at - started, step, ap50


def train_ours(data: Path, init: Path, goal: float, folder: Path) -> None:
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
            os._exit(0)  # what follows is not timed

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
@click.option("--upstream-in", type=click.Path(path_type=Path), hidden=True)
@click.option("--ours-in", type=click.Path(path_type=Path), hidden=True)
def main(data, init, goal, upstream_in, ours_in) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if upstream_in:
        steps = 1500
        train_upstream(upstream_in / "pipeline.config", upstream_in, steps, lambda: None, EVERY)
        return
    if ours_in:
        train_ours(data, init, goal, ours_in)
        return
    with tempfile.TemporaryDirectory() as temporary:
        reached = {}
        for way in (ours, upstream):
            (folder := Path(temporary) / way.__name__).mkdir()
            reached[way.__name__] = way(data, init, goal, folder)
    for name, (seconds, step, ap50) in reached.items():
        print(f"{name}: AP50 {ap50:.3f} at step {step} after {seconds:.0f} s")
    print(f"ratio {reached['ours'][0] / reached['upstream'][0]:.2f}")


if __name__ == "__main__":
    main()
