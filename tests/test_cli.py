"""Tests the command line: help, a whole workflow, and errors as one line with exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from helpers.files import contents
from tfod.cli import main

COMMANDS = tuple(main.commands)


def tfod(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def only_line(result) -> str:
    """Returns the line of an error, which is the only output."""
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("tfod: ")
    return line


def test_help_answers_without_tensorflow():
    code = (
        "import sys, tfod.cli\n"
        "try: tfod.cli.main(['--help'])\n"
        "finally: print('heavy:', {'tensorflow', 'numpy', 'pandas'} & set(sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    print(f"tfod --help: {time.monotonic() - start:.2f} s")
    assert "heavy: set()" in result.stdout
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("users_choice", [None, "false"])
def test_gpu_memory_is_taken_as_needed_unless_the_user_decides(users_choice, monkeypatch):
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", users_choice or "")  # restored at the end
    if users_choice is None:
        monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH")
    tfod("train", "--help")
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == (users_choice or "true")


def test_backend_of_a_notebooks_matplotlib_is_not_used(monkeypatch):
    """A command of a notebook inherits it, but .venv does not have this package."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    tfod("inspect", "--help")
    assert os.environ["MPLBACKEND"] == "agg"


def test_chart_in_the_help_lists_every_command_in_order():
    lines = tfod("--help").output.splitlines()
    chart = [line.split()[1] for line in lines if line.startswith("  tfod ")]
    assert chart == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = tfod(command, "--help")
    assert result.exit_code == 0
    example = "train" if command == "zoo" else command  # that of zoo trains with its result
    assert f"Example:\n    tfod {example} " in result.output


@pytest.mark.long
def test_workflow_from_images_to_predictions(tiny_template, tmp_path, capfd):
    """Runs the commands of the README on a small scale."""
    voc, data, run = tmp_path / "voc", tmp_path / "data", tmp_path / "run"
    exported, drawn, report = (tmp_path / name for name in ("exported", "drawn", "report"))
    folders = ["--annotations", voc / "annotations", "--images", voc / "images"]
    training = ["--pipeline", tiny_template, "--init", "scratch", "--steps", 2, "--batch-size", 2]
    outputs = ["--output", drawn, "--save-crops", tmp_path / "crops"]
    outputs += ["--json", tmp_path / "detections.json", "--csv", tmp_path / "detections.csv"]
    outputs += ["--voc", tmp_path / "corrected", "--threshold", 0.5]  # no detections
    for arguments in (
        ["sample", "--output", voc, "--count", 20],
        ["convert", *folders, "--output", data],
        ["train", "--data", data, *training, "--output", run],
        ["evaluate", "--run", run, "--data", data, "--split", "val"],
        [
            "export",
            "--run",
            run,
            "--output",
            exported,
            "--tflite",
            "float32,int8",
            "--nms",
            "regular",
        ],
        ["evaluate", "--model", exported, "--data", data],
        ["evaluate", "--model", exported / "model.tflite", "--data", data],
        ["evaluate", "--model", exported / "model.tflite", "--data", data, "--output", report],
        ["evaluate", "--detections", report / "detections.json", "--data", data],
        ["predict", "--model", exported / "model_int8.tflite", *outputs, voc / "images"],
    ):
        result = tfod(*arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        output = result.output + capfd.readouterr().err
        assert "WARNING" not in output and "deprecated" not in output, output
    assert "images" in result.stderr  # the progress bar
    assert len(list(drawn.glob("*.jpg"))) == 21
    assert len(list((tmp_path / "corrected").glob("*.xml"))) == 20
    assert json.loads((tmp_path / "detections.json").read_text()) == []
    assert len((tmp_path / "detections.csv").read_text().splitlines()) == 1
    assert len(list(exported.glob("*.tflite"))) == 2
    assert json.loads((run / "metrics.json").read_text())["images"] == 2
    saved_model, tflite = (
        json.loads((exported / name).read_text()) for name in ("metrics.json", "model_metrics.json")
    )
    assert tflite["images"] == saved_model["images"] == 3
    assert json.loads((report / "metrics.json").read_text()) == tflite
    from_detections = json.loads((report / "detections_metrics.json").read_text())
    assert from_detections["coco"] == pytest.approx(tflite["coco"], abs=1e-3)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.long
def test_damaged_image_is_reported_and_the_others_are_processed(exported, sample_voc, tmp_path):
    good = sorted((sample_voc / "images").iterdir())[0]
    damaged, table = tmp_path / "damaged.jpg", tmp_path / "detections.csv"
    damaged.write_bytes(good.read_bytes()[:2000])
    model = ["--model", exported / "model.tflite", "--threshold", 0, "--csv", table]
    result = tfod("predict", *model, damaged, good)
    first, last = errors(result)
    assert first.startswith(f"tfod: {damaged}: cannot be decoded")
    assert last.endswith(
        "1 unusable file (1 image unreadable). Fix them; all other images were processed."
    )
    assert len(table.read_text().splitlines()) == 101
    assert f"{good}: " in result.stdout


PREDICT = ["predict", "--model", "{exported}", "{image}"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("zeros", ["train", "--pipeline", "{template}", "--data", "{data}", "--init", "scratch"]),
        ("zeros", ["export", "--run", "{run}"]),
        ("train.Checkpoint.read", ["evaluate", "--run", "{run}", "--data", "{data}"]),
        ("saved_model.load", PREDICT),
        ("constant", PREDICT),
    ],
)
def test_too_little_memory_is_one_line(
    operation, arguments, run, exported, data, tiny_template, sample_voc, tmp_path, monkeypatch
):
    def exhaust_memory(*arguments, **options):
        reason = "OOM when allocating tensor with shape[9] and type float by allocator GPU_0_bfc"
        raise tf.errors.ResourceExhaustedError(None, None, reason)

    image = min((sample_voc / "images").iterdir())
    places = {"run": run, "exported": exported, "image": image}
    places |= {"data": data.folder, "template": tiny_template}
    command = [argument.format(**places) for argument in arguments]
    monkeypatch.setattr(f"tensorflow.{operation}", exhaust_memory)
    (line,) = errors(tfod(*command, "--output", tmp_path / "out"))
    assert line == (
        "tfod: GPU memory: is too small for this command. Stop other programs that use it, or use "
        "a smaller model or a larger machine."
    )
    assert not list(tmp_path.iterdir())


EVALUATE = ["evaluate", "--detections", "{tmp}/a.json"]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["export", "--run", "{tmp}/run"], "an export"),
        ([*EVALUATE, "--data", "{data}"], "a report"),
        (["compare", "--data", "{data}", "{tmp}/a.tflite"], "a comparison"),
        (["inspect", "{data}"], "a page of tfod inspect"),
        (["live", "--model", "{tmp}/a.tflite"], "a page of tfod live"),
        (["predict", "--model", "{tmp}/a.tflite", "{tmp}/a.png"], "the output of tfod predict"),
        (["convert", "--annotations", "{tmp}/xml", "--images", "{tmp}"], "a data set"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_overwrite_replaces_only_outputs_of_the_same_command(
    arguments, kind, data, tmp_path, monkeypatch
):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pipeline.config").write_text("model { ssd { } }")
    for name in ("a.tflite", "a.png"):
        (tmp_path / name).touch()
    output = tmp_path / "my_photos"
    output.mkdir()
    (output / "photo.jpg").write_text("precious")
    if arguments[0] == "convert":
        arguments = ["convert", "--annotations", "{tmp}/xml", "--images", "{tmp}/run"]
    command = [part.format(tmp=tmp_path, data=data.folder) for part in arguments]
    assert only_line(tfod(*command, "--output", output, "--overwrite")).startswith(
        f"tfod: {output}: exists and is not {kind}"
    )
    assert (output / "photo.jpg").read_text() == "precious"
    assert not list(tmp_path.glob("*.partial"))
    monkeypatch.chdir(output)
    for current in (".", ".."):
        assert only_line(tfod(*command, "--output", current, "--overwrite")).startswith(
            f"tfod: {current}: "
        )
    assert (output / "photo.jpg").exists()


def test_outputs_of_predict_do_not_replace_each_other_or_the_input(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.tflite").write_text("model")
    before = contents(tmp_path)
    image, model, out = tmp_path / "a.png", tmp_path / "a.tflite", tmp_path / "out"
    crops, json_file, again = out / "crops", out / "a.json", tmp_path / "none" / ".." / "out"
    for outputs, fault, remedy in (
        (["--output", out, "--voc", out], f"--output and --voc: both would write {out}", "names"),
        (["--csv", out, "--json", again], f"--json and --csv: both would write {again}", "names"),
        (["--output", out, "--save-crops", crops], f"{out}: would replace {crops}", "--output"),
        (["--voc", out, "--json", json_file], f"{out}: would replace {json_file}", "--voc"),
        (["--save-crops", tmp_path], f"{tmp_path}: would replace {model}", "--save-crops"),
        (["--json", image], f"{image}: is an input, which --json would replace", "--json"),
        (["--csv", model], f"{model}: is an input, which --csv would replace", "--csv"),
    ):
        line = only_line(tfod("predict", "--model", model, tmp_path, *outputs, "--overwrite"))
        assert line.startswith(f"tfod: {fault}. ")
        assert line.endswith(f" {remedy}.")
    assert contents(tmp_path) == before


def test_unknown_tflite_variant_is_reported(tmp_path):
    output = ["--run", tmp_path, "--output", tmp_path / "out"]
    assert only_line(tfod("export", *output, "--tflite", "float32,int4")) == (
        "tfod: --tflite: unknown variant 'int4'. Choose from float32, float16, dynamic, int8."
    )


def errors(result) -> list[str]:
    """Returns the lines of errors that follow a progress bar."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("tfod: ")]


def voc_folder(folder, name="a", image="a.png", box=(10, 10, 50, 50), text=None):
    """Writes a VOC folder with one image of 100 x 80 pixels and returns the options for it."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    Image.new("RGB", (100, 80), "gray").save(folder / "images" / "a.png")
    edges = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    bndbox = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
    xml = (
        f"<annotation><filename>{image}</filename>"
        "<size><width>100</width><height>80</height><depth>3</depth></size>"
        f"<object><name>{name}</name><bndbox>{bndbox}</bndbox></object></annotation>"
    )
    (folder / "annotations" / "a.xml").write_text(text or xml)
    return ["--annotations", folder / "annotations", "--images", folder / "images"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"text": "<annotation><object>"}, "is not well-formed XML"),
        ({"image": "b.png"}, "no image 'b.png'"),
        ({"box": (10, 10, 150, 50)}, "10, 10, 150, 50 extends outside the image of 100 x 80"),
        ({"box": (10, 10, 10, 50)}, "extends from x 10 to 10"),
    ],
)
def test_convert_reports_the_faulty_file_and_writes_nothing(fault, message, tmp_path):
    folders = voc_folder(tmp_path / "voc", **fault)
    if "image" in fault:  # no image has the name in the XML file, or that of the XML file
        (tmp_path / "voc" / "images" / "a.png").rename(tmp_path / "voc" / "images" / "c.png")
    result = tfod("convert", *folders, "--output", tmp_path / "data")
    first, last = errors(result)
    assert first.startswith(f"tfod: {tmp_path / 'voc' / 'annotations' / 'a.xml'}: ")
    assert message in first
    assert "1 unusable file (1 " in last
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_convert_reports_a_damaged_image(tmp_path):
    folders = voc_folder(tmp_path / "voc")
    image = tmp_path / "voc" / "images" / "a.png"
    image.write_bytes(image.read_bytes()[:70])
    result = tfod("convert", *folders, "--output", tmp_path / "data")
    assert "a.png" in errors(result)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_convert_reports_a_class_missing_from_the_label_map(tmp_path):
    folders = voc_folder(tmp_path / "voc", name="zebra")
    label_map = tmp_path / "map.pbtxt"
    label_map.write_text("item { id: 1 name: 'cat' }")
    result = tfod("convert", *folders, "--label-map", label_map, "--output", tmp_path / "data")
    assert "zebra" in errors(result)[0]
    assert not (tmp_path / "data").exists()


def test_missing_folders_are_reported(tmp_path):
    missing = tmp_path / "missing"
    output = ["--output", tmp_path / "out"]
    for arguments in (
        ["convert", "--annotations", missing, "--images", missing, *output],
        ["train", "--data", missing, "--pipeline", "ssd_mobilenet_v2_320x320", *output],
        ["evaluate", "--model", missing, "--data", missing],
        ["export", "--run", missing, *output],
        ["predict", "--model", missing, missing],
    ):
        assert str(missing) in only_line(tfod(*arguments))
    assert not list(tmp_path.iterdir())


def test_evaluate_needs_exactly_one_source_of_detections(data, tmp_path):
    options = ["--data", data.folder]
    assert "nothing to evaluate. Give one of --run" in only_line(tfod("evaluate", *options))
    twice = ["--model", tmp_path, "--detections", tmp_path / "a.json"]
    assert "--model and --detections cannot be combined" in only_line(
        tfod("evaluate", *options, *twice)
    )
    both = ["--run", tmp_path, "--model", tmp_path]
    assert "--run and --model cannot be combined" in only_line(tfod("evaluate", *options, *both))
    for option, value in (("--input-size", 320), ("--nms-iou", 0.5), ("--min-score", 0.05)):
        changed = ["--detections", tmp_path / "a.json", option, value]
        line = only_line(tfod("evaluate", *options, *changed))
        assert f"{option}: cannot be combined with --detections" in line
    (tmp_path / "a.json").write_text(
        '[{"image_id": "x", "category_id": 1, "bbox": [], "score": 1}]'
    )
    line = only_line(tfod("evaluate", *options, "--detections", tmp_path / "a.json"))
    assert line.startswith(f"tfod: {tmp_path / 'a.json'}: entry 1 has the image_id 'x'")


def test_invalid_split_fractions_are_reported(tmp_path):
    folders = voc_folder(tmp_path / "voc")
    line = only_line(tfod("convert", *folders, "--split", "80/20", "--output", tmp_path / "data"))
    assert "Give fractions such as 0.8,0.1,0.1" in line
