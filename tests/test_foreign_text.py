"""Tests that names of classes and files, which come from others, are shown as text everywhere."""

from __future__ import annotations

import io
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from lxml import html
from matplotlib.figure import Figure
from PIL import Image

from helpers.conversion import run
from helpers.voc_files import voc_object, write_image, write_xml
from tfod import figures
from tfod.annotation import Annotation, Box
from tfod.cli import main
from tfod.commands.tables import note, table
from tfod.dataset.label_map import LABEL_MAP, write_label_map
from tfod.dataset.manifest import describe_split, load_dataset, write_manifest
from tfod.dataset.records import make_example, write_shard
from tfod.detection.detections import detections_from_outputs
from tfod.detection.drawing import draw_detections
from tfod.errors import UserError
from tfod.evaluation import comparison_report
from tfod.images import encode_for_training
from tfod.text import printable

MARKUP = ["[/stop]", "[bold]x", "$\\frac{$", "<b>&amp;", ":smile:", "_hidden", "%s{x}"]
TERMINAL = ["\x1b[31mred", "\x9b1mC1", "a\nb"]  # a terminal acts upon these
BIDI = "\u202eright to left"  # turns the rest of a line around
NAMES = [*MARKUP, *TERMINAL, BIDI, "停车", "x" * 100]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\r\n\tb\x00\x7f", r"a\r\n\tb\x00\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eevil\u2066\u200f\u2028", r"\u202eevil\u2066\u200f\u2028"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        (
            "Fußgänger, 停车, שלום, 👩\u200d🚒, [/stop]",
            "Fußgänger, 停车, שלום, 👩\u200d🚒, [/stop]",
        ),
    ],
)
def test_printable_text_keeps_letters_and_escapes_what_a_terminal_acts_upon(text, shown):
    assert printable(text) == shown


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A data set with foreign class names: 13 images with an object of each class in a row."""
    folder = tmp_path_factory.mktemp("foreign") / f"signs{BIDI}"
    folder.mkdir()
    image = write_image(folder.parent / "a.png", size=(40, 30))
    encoded, ids = encode_for_training(image), {name: id for id, name in enumerate(NAMES, 1)}
    shard = folder / "train-00000-of-00001.tfrecord"
    annotations = [
        Annotation(shard, Path(f"{n}\x1b[1m.png"), 40, 30, (Box(name, 1, 2, 31, 22),), f"{n}.png")
        for n, name in enumerate(NAMES)
    ]
    write_shard(shard, (make_example(annotation, encoded, ids) for annotation in annotations))
    write_label_map(folder / LABEL_MAP, dict(enumerate(NAMES, 1)))
    splits = {"train": describe_split(annotations, NAMES, [shard])}
    write_manifest(folder, splits, {"train": 1}, 0, remarks=[], skipped=[], unannotated=0)
    return load_dataset(folder)


def tfod(*arguments: object):
    """Runs a command, which must succeed, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    assert is_safe(result.stdout)
    return result


def is_safe(text: str) -> bool:
    """Whether a terminal prints the text as it is, apart from line breaks and progress bars."""
    return printable(text.replace("\n", "").replace("\r", "")) == text.replace("\n", "").replace(
        "\r", ""
    )


def first_cells(output: str) -> set[str]:
    return {cell.strip() for cell in re.findall("^│([^│]*)│", output, re.MULTILINE)}


def is_isolated(page: Path) -> bool:
    """Whether a change of direction ends in a cell of a table. Other elements contain none."""
    text = page.read_text(encoding="utf-8")
    return BIDI[0] not in re.sub(r"<t[hd][^>]*>[^<]*</t[hd]>", "", text)


def test_inspect_shows_foreign_names(foreign, tmp_path):
    result = tfod("inspect", foreign.folder, "--output", tmp_path / "page")
    shown = {printable(name) for name in NAMES if len(name) < 40}
    assert first_cells(result.stdout) > shown
    assert all(name in result.stdout.splitlines()[-2] for name in shown)
    page = tmp_path / "page" / "index.html"
    cells = {cell.text_content() for cell in html.fromstring(page.read_bytes()).iter("th")}
    assert cells > {*MARKUP, BIDI}
    assert is_isolated(page)


def test_evaluate_shows_foreign_names(foreign, tmp_path):
    detections, output = tmp_path / f"[bold]{BIDI}.json", tmp_path / "report"
    boxes = [
        {"image_id": f"{n}.png", "category_id": n + 1, "bbox": [1, 2, 30, 20], "score": 0.9}
        for n in range(len(NAMES))
    ]
    detections.write_text(json.dumps(boxes))
    source = ["--detections", detections, "--data", foreign.folder, "--split", "train"]
    result = tfod("evaluate", *source, "--output", output)
    assert first_cells(result.stdout) > {*MARKUP, *map(printable, TERMINAL)}
    page = html.fromstring((output / "report.html").read_bytes())
    assert {cell.text_content() for cell in page.iter("th")} > {*MARKUP, BIDI}
    assert page.xpath("string(//h1)") == f"{printable(detections.name)} on " + printable(
        foreign.folder.name
    )
    assert is_isolated(output / "report.html")


def test_convert_shows_foreign_names(tmp_path):
    for number, name in enumerate(MARKUP * 5):
        write_image(tmp_path / f"voc/images/{number}\x1b[31m.png", color=(number % 30, 0, 0))
        escaped = name.replace("&", "&amp;").replace("<", "&lt;")
        xml = tmp_path / f"voc/annotations/{number}\x1b[31m.xml"
        write_xml(xml, voc_object(escaped), filename="")
    folders = ["--annotations", tmp_path / "voc/annotations", "--images", tmp_path / "voc/images"]
    result = tfod("convert", *folders, "--output", tmp_path / "data")
    assert first_cells(result.stdout) == {"", "images", *MARKUP} - {""}
    assert r"0\x1b[31m.png" in result.stderr and is_safe(result.stderr)  # the same images
    (tmp_path / "voc/images" / "0\x1b[31m.png").unlink()
    result = CliRunner().invoke(
        main, ["convert", *map(str, folders), "--output", f"{tmp_path}/again"]
    )
    assert result.exit_code == 2
    assert r"0\x1b[31m.xml: no image" in result.stderr and is_safe(result.stderr)


def test_messages_and_tables_are_plain_text(capsys):
    table(["class", "[b]n"], [[name, 1] for name in NAMES[:-1]])
    note(f"{BIDI} and [red]")
    captured = capsys.readouterr()
    assert is_safe(captured.out) and is_safe(captured.err)
    assert first_cells(captured.out) == {printable(name) for name in NAMES[:-1]}
    assert "[b]n" in captured.out and r"note: \u202eright to left and [red]" in captured.err


def test_wide_tables_keep_their_numbers_and_wrap_names(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table(["class", *"abcdefgh"], [["x" * 100, *["0.123"] * 8]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 80
    assert lines[3].count("0.123") == 8
    assert "".join(lines).count("x") == 100


@pytest.mark.parametrize("classes", [20, 200])
def test_split_table_is_readable_with_many_classes(tmp_path, classes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"traffic sign {number}" for number in range(classes)]
    for number in range(5):
        write_image(tmp_path / f"voc/images/{number}.png", color=(number, 0, 0))
        xml = tmp_path / f"voc/annotations/{number}.xml"
        boxes = [voc_object(name, (1, 2, 12 + number, 20)) for name in names]
        write_xml(xml, *boxes, filename=f"{number}.png")
    folders = ["--annotations", tmp_path / "voc/annotations", "--images", tmp_path / "voc/images"]
    lines = tfod("convert", *folders, "--output", tmp_path / "data").stdout.splitlines()
    header, *rows = [re.findall(r"[^│┃]+", line) for line in lines if line[0] in "│┃"]
    assert [cell.strip() for cell in header] == ["objects", "train", "val", "test"]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells[:-1] == [[name, "3", "1", "1"] for name in sorted(names)]
    assert cells[-1] == ["images", "3", "1", "1"]


def shown_labels(names: list[str]) -> list[str]:
    """Draws a plot with these names, and returns those in its legend."""
    figure = Figure()
    axes = figure.subplots()
    for name in names:
        axes.plot([0, 1], label=figures.label(name))
    axes.set_xticks(range(len(names)), [figures.label(name) for name in names])
    legend = axes.legend()
    figures.png(figure)
    return [text.get_text() for text in legend.get_texts()]


def test_plots_show_names_as_text():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = shown_labels(NAMES)
    assert len(shown) == len(NAMES)
    assert shown[:3] == ["[/stop]", "[bold]x", r"\$\frac{\$"]  # \$ is drawn as $
    assert shown[-1] == "x" * 39 + "…"


def test_comparison_shows_foreign_names():
    row = {"kind": "run", "AP": 0.5, "ms": 1.0}
    table = pd.DataFrame([{"model": name, **row} for name in NAMES])
    curve = pd.DataFrame(
        {"step": ["1", "2"], "total_loss": ["3", ""], "val_total_loss": ["", "3"], "AP": ["", "0"]}
    )
    for figure in (
        comparison_report.plot_speed(table),
        comparison_report.plot_curves(dict.fromkeys(NAMES, curve)),
    ):
        assert Image.open(io.BytesIO(figures.png(figure))).size[0] > 500


@pytest.mark.parametrize("name", NAMES)
def test_boxes_are_drawn_with_foreign_names(name):
    gray = np.full((100, 200, 3), 90, np.uint8)
    box = np.array([[0.3, 0.2, 0.9, 0.9]])
    detections = detections_from_outputs(box, np.array([0.9]), np.array([1]), {1: name})
    drawn = draw_detections(gray, detections)
    assert drawn.shape == gray.shape and (drawn != gray).any()


def test_errors_are_one_line(tmp_path):
    name = "a\x1b[31m\n.csv"
    with pytest.raises(UserError) as caught:
        run(tmp_path / name)
    arguments = [
        "--annotations",
        tmp_path / name,
        "--images",
        tmp_path,
        "--output",
        tmp_path / "out",
    ]
    result = CliRunner().invoke(main, ["convert", *map(str, arguments)])
    assert name in str(caught.value)
    (line,) = result.stderr.splitlines()
    assert r"a\x1b[31m\n.csv: does not exist." in line
