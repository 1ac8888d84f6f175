"""The commands as a person types them: help at once, one clear line and exit code 2 for errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from PIL import Image

from tfod.cli import main

COMMANDS = (
    *("sample", "convert", "inspect", "train", "evaluate", "compare", "export", "predict", "live"),
)


def tfod(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def only_line(result) -> str:
    """The one line of an error; there is no traceback and no other output."""
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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = tfod(command, "--help")
    assert result.exit_code == 0
    assert f"Example:\n    tfod {command} " in result.output


@pytest.mark.long
def test_from_pictures_to_predictions(tiny_template, tmp_path, capfd):
    """The whole way at a small size, as the README tells it."""
    voc, data, run = tmp_path / "voc", tmp_path / "data", tmp_path / "run"
    exported, drawn, report = (tmp_path / name for name in ("exported", "drawn", "report"))
    folders = ["--annotations", voc / "annotations", "--images", voc / "images"]
    training = ["--pipeline", tiny_template, "--init", "scratch", "--steps", 2, "--batch-size", 2]
    outputs = ["--output", drawn, "--save-crops", tmp_path / "crops"]
    outputs += ["--json", tmp_path / "found.json", "--csv", tmp_path / "found.csv"]
    outputs += ["--voc", tmp_path / "corrected"]
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
        said = result.output + capfd.readouterr().err
        assert "WARNING" not in said and "deprecated" not in said, said
    assert "pictures" in result.stderr  # the progress bar
    assert len(list(drawn.iterdir())) == 21 and len(list((tmp_path / "corrected").iterdir())) == 20
    assert json.loads((tmp_path / "found.json").read_text()) == []
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1
    assert len(list(exported.glob("*.tflite"))) == 2
    assert json.loads((run / "metrics.json").read_text())["images"] == 2
    saved_model, lite = (
        json.loads((exported / name).read_text()) for name in ("metrics.json", "model_metrics.json")
    )
    assert lite["images"] == saved_model["images"] == 3
    assert json.loads((report / "metrics.json").read_text()) == lite
    again = json.loads((report / "detections_metrics.json").read_text())
    assert again["coco"] == pytest.approx(lite["coco"], abs=1e-3)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.long
def test_a_broken_picture_is_named_and_the_others_are_looked_at(exported, sample_voc, tmp_path):
    good = sorted((sample_voc / "images").iterdir())[0]
    (tmp_path / "broken.jpg").write_bytes(good.read_bytes()[:2000])
    found = tmp_path / "found.csv"
    model = ["--model", exported / "model.tflite", "--threshold", 0, "--csv", found]
    result = tfod("predict", *model, tmp_path / "broken.jpg", good)
    first, last = errors(result)
    assert first.startswith(f"tfod: {tmp_path / 'broken.jpg'}: the picture does not decode")
    assert last.endswith(
        "1 unusable file (1 image unreadable). Mend them; the others were looked at."
    )
    assert len(found.read_text().splitlines()) == 101
    assert f"{good}: " in result.stdout


def test_unknown_variants_are_one_line(tmp_path):
    output = ["--run", tmp_path, "--output", tmp_path / "out"]
    assert only_line(tfod("export", *output, "--tflite", "float32,int4")) == (
        "tfod: --tflite: is 'float32,int4'. Give some of float32,float16,dynamic,int8."
    )


def errors(result) -> list[str]:
    """The lines of an error that comes after a progress bar."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("tfod: ")]


def voc_folder(folder, name="a", image="a.png", box=(10, 10, 50, 50), text=None):
    """A VOC folder of one 100 x 80 picture."""
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
    ("fault", "says"),
    [
        ({"text": "<annotation><object>"}, "a.xml"),
        ({"image": "b.png", "text": None}, None),
        ({"box": (10, 10, 150, 50)}, "150"),
        ({"box": (10, 10, 10, 50)}, "a.xml"),
    ],
)
def test_convert_names_the_file_and_writes_nothing(fault, says, tmp_path):
    folders = voc_folder(tmp_path / "voc", **fault)
    if "image" in fault:  # nothing by that name or by the XML's own
        (tmp_path / "voc" / "images" / "a.png").rename(tmp_path / "voc" / "images" / "c.png")
    result = tfod("convert", *folders, "--output", tmp_path / "data")
    first, last = errors(result)
    assert first.startswith(f"tfod: {tmp_path / 'voc' / 'annotations' / 'a.xml'}: ")
    assert says is None or says in first
    assert "1 unusable file (1 " in last
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_convert_names_a_picture_that_does_not_decode(tmp_path):
    folders = voc_folder(tmp_path / "voc")
    picture = tmp_path / "voc" / "images" / "a.png"
    picture.write_bytes(picture.read_bytes()[:70])
    result = tfod("convert", *folders, "--output", tmp_path / "data")
    assert "a.png" in errors(result)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_convert_names_a_class_that_the_label_map_lacks(tmp_path):
    folders = voc_folder(tmp_path / "voc", name="zebra")
    label_map = tmp_path / "map.pbtxt"
    label_map.write_text("item { id: 1 name: 'cat' }")
    result = tfod("convert", *folders, "--label-map", label_map, "--output", tmp_path / "data")
    assert "zebra" in errors(result)[0]
    assert not (tmp_path / "data").exists()


def test_missing_folders_are_one_line(tmp_path):
    nowhere = tmp_path / "nowhere"
    output = ["--output", tmp_path / "out"]
    for arguments in (
        ["convert", "--annotations", nowhere, "--images", nowhere, *output],
        ["train", "--data", nowhere, "--pipeline", "ssd_mobilenet_v2_320x320", *output],
        ["evaluate", "--model", nowhere, "--data", nowhere],
        ["export", "--run", nowhere, *output],
        ["predict", "--model", nowhere, nowhere],
    ):
        assert str(nowhere) in only_line(tfod(*arguments))
    assert not list(tmp_path.iterdir())


def test_what_to_evaluate_is_said_once(data, tmp_path):
    given = ["--data", data.folder]
    assert "nothing to evaluate. Give one of --run" in only_line(tfod("evaluate", *given))
    twice = ["--model", tmp_path, "--detections", tmp_path / "a.json"]
    assert "--model and --detections exclude each other" in only_line(
        tfod("evaluate", *given, *twice)
    )
    both = ["--run", tmp_path, "--model", tmp_path]
    assert "--run and --model exclude each other" in only_line(tfod("evaluate", *given, *both))
    sized = ["--detections", tmp_path / "a.json", "--input-size", 320]
    assert "has no use with --detections" in only_line(tfod("evaluate", *given, *sized))
    (tmp_path / "a.json").write_text(
        '[{"image_id": "x", "category_id": 1, "bbox": [], "score": 1}]'
    )
    line = only_line(tfod("evaluate", *given, "--detections", tmp_path / "a.json"))
    assert line.startswith(f"tfod: {tmp_path / 'a.json'}: entry 1 names the image 'x'")


def test_a_split_that_is_no_number_is_one_line(tmp_path):
    folders = voc_folder(tmp_path / "voc")
    line = only_line(tfod("convert", *folders, "--split", "80/20", "--output", tmp_path / "data"))
    assert "Give fractions as 0.8,0.1,0.1" in line
