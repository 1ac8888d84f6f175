"""Times `tfod export` against upstream's three scripts, one after the other: whole processes.

  python tests/benchmarks/bench_export.py --run runs/signs

Upstream: `exporter_main_v2.py` writes the SavedModel, `export_tflite_graph_tf2.py` another for
TFLite, and TensorFlow's converter makes a float32 .tflite of that. `tfod export --tflite float32`
makes the same two, and holds them against the checkpoint on 50 pictures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from whole_process import print_medians, run_python

CONVERT = """
import sys, tensorflow as tf
model = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1]).convert()
open(sys.argv[2], "wb").write(model)
"""
# Upstream's scripts do not load without the repairs.
SCRIPT = "import sys, runpy, tfod; runpy.run_module(sys.argv.pop(1), run_name='__main__')"


def upstream(run: Path, folder: Path) -> list[list[str]]:
    given = [
        f"--pipeline_config_path={run / 'pipeline.config'}",
        f"--trained_checkpoint_dir={run / 'best'}",
        f"--output_directory={folder}",
    ]
    lite = f"--output_directory={folder / 'lite'}"
    return [
        ["-c", SCRIPT, "object_detection.exporter_main_v2", "--input_type=image_tensor", *given],
        ["-c", SCRIPT, "object_detection.export_tflite_graph_tf2", *given[:2], lite],
        ["-c", CONVERT, str(folder / "lite" / "saved_model"), str(folder / "model.tflite")],
    ]


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.option("--run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rounds", default=2, show_default=True)
def main(run: Path, rounds: int) -> None:
    run = run.resolve()
    seconds: dict[str, list[float]] = {"upstream": [], "tfod": []}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            folder = Path(temporary) / str(number)
            ours = ["-m", "tfod", "export", "--run", str(run), "--tflite", "float32"]
            ways = {
                "upstream": upstream(run, folder / "upstream"),
                "tfod": [[*ours, "--output", str(folder / "tfod")]],
            }
            for name, commands in ways.items():
                seconds[name].append(sum(run_python(*command)[0] for command in commands))
    print_medians("whole processes", "seconds", seconds)


if __name__ == "__main__":
    main()
