"""Compares the time of `tfod export` and upstream's scripts.

  python tests/benchmarks/bench_export.py --run runs/signs

Upstream needs three steps: `exporter_main_v2.py` writes the SavedModel,
`export_tflite_graph_tf2.py` writes another one for TFLite, and TensorFlow's converter converts it
to a float32 .tflite file. `tfod export --tflite float32` writes the same SavedModel and .tflite
file, and compares them with the checkpoint on 50 images. Times are of complete processes, which run
alternately.
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
# Upstream's scripts cannot be imported without the repairs.
SCRIPT = "import sys, runpy, tfod; runpy.run_module(sys.argv.pop(1), run_name='__main__')"


def upstream_commands(run: Path, folder: Path) -> list[list[str]]:
    arguments = [
        f"--pipeline_config_path={run / 'pipeline.config'}",
        f"--trained_checkpoint_dir={run / 'best'}",
        f"--output_directory={folder}",
    ]
    lite = f"--output_directory={folder / 'lite'}"
    return [
        [
            "-c",
            SCRIPT,
            "object_detection.exporter_main_v2",
            "--input_type=image_tensor",
            *arguments,
        ],
        ["-c", SCRIPT, "object_detection.export_tflite_graph_tf2", *arguments[:2], lite],
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
            export = ["-m", "tfod", "export", "--run", str(run), "--tflite", "float32"]
            candidates = {
                "upstream": upstream_commands(run, folder / "upstream"),
                "tfod": [[*export, "--output", str(folder / "tfod")]],
            }
            for name, commands in candidates.items():
                seconds[name].append(sum(run_python(*command)[0] for command in commands))
    print_medians("complete processes", "seconds", seconds)


if __name__ == "__main__":
    main()
