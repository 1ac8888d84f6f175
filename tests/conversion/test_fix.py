"""Tests `tfod convert --fix`: what is repaired, what stays a fault, and what is listed."""

from __future__ import annotations

import io
import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFile

from helpers.conversion import run
from helpers.files import contents
from helpers.png_files import png_file
from helpers.table_files import HEADER, coco
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.cli import main
from tfod.conversion import convert
from tfod.conversion.annotation_folder import CheckedFolder, read_folder
from tfod.dataset.records import read_records
from tfod.errors import BadFilesError

BCCD = Path(__file__).parents[3] / "shared" / "bccd"
GOOD = (1, 2, 11, 12)


@pytest.fixture
def check(tmp_path):
    """A function that checks one 40 x 30 image with these boxes."""

    def check(*boxes: tuple, **options) -> CheckedFolder:
        write_image(tmp_path / "images/a.jpg")
        write_xml(tmp_path / "xml/a.xml", *(voc_object("stop", box) for box in boxes))
        return read_folder(tmp_path / "xml", tmp_path / "images", **options)

    return check


def faults_of(check, *boxes: tuple, **options) -> list[tuple[str, str]]:
    """Returns the message of each fault after the path, and the summary's remedy."""
    with pytest.raises(BadFilesError) as caught:
        check(*boxes, **options)
    return [str(error).partition(": ")[2] for error in caught.value.errors] + [caught.value.remedy]


X = "object 2 'stop' extends from x"
AT = "object 2 'stop' at"
OUTSIDE = "extends outside the image of 40 x 30"

# Description: the second box of an image; its corners after the repair, None if it is dropped;
# kind and words of the repair; the remedy without --fix.
BOXES = {
    "left and right swapped": ((20, 1, 10, 20), (10, 1, 20, 20), "corners swapped",
        f"{X} 20 to 10 and from y 1 to 20; corners swapped to 10, 1, 20, 20", "swap its corners"),
    "top and bottom swapped": ((10, 20, 20, 1), (10, 1, 20, 20), "corners swapped",
        f"{X} 10 to 20 and from y 20 to 1; corners swapped to 10, 1, 20, 20", "swap its corners"),
    "both swapped": ((20, 20, 10, 1), (10, 1, 20, 20), "corners swapped",
        f"{X} 20 to 10 and from y 20 to 1; corners swapped to 10, 1, 20, 20", "swap its corners"),
    "a click": ((7, 7, 7, 7), None, "box dropped",
        f"{X} 7 to 7 and from y 7 to 7; dropped", "drop it"),
    "no height": ((7, 7, 20, 7), None, "box dropped",
        f"{X} 7 to 20 and from y 7 to 7; dropped", "drop it"),
    "swapped without height": ((20, 7, 7, 7), None, "box dropped",
        f"{X} 20 to 7 and from y 7 to 7; dropped", "drop it"),
    "beyond the left edge": ((-5, 1, 10, 20), (0, 1, 10, 20), "box outside",
        f"{AT} -5, 1, 10, 20 {OUTSIDE}; clipped to 0, 1, 10, 20", "clip it"),
    "beyond all edges": ((-5, -5, 99, 99.5), (0, 0, 40, 30), "box outside",
        f"{AT} -5, -5, 99, 99.5 {OUTSIDE}; clipped to 0, 0, 40, 30", "clip it"),
    "completely outside": ((45, 1, 60, 20), None, "box dropped",
        f"{AT} 45, 1, 60, 20 {OUTSIDE}; dropped", "drop it"),
    "swapped and completely outside": ((60, 1, 45, 20), None, "box dropped",
        f"{AT} 45, 1, 60, 20 {OUTSIDE}; dropped", "drop it"),
    "just beyond the edge": ((40, 1, 41, 20), None, "box dropped",
        f"{AT} 40, 1, 41, 20 is beyond the edge of the image of 40 x 30; dropped", "drop it"),
}  # fmt: skip


@pytest.mark.parametrize(("box", "corners", "kind", "what", "offer"), BOXES.values(), ids=BOXES)
def test_box_is_repaired_and_its_repair_can_be_found(check, box, corners, kind, what, offer):
    (annotation,) = check(GOOD, box, fix=True).annotations
    assert [box.corners for box in annotation.objects] == [GOOD, *([corners] if corners else [])]
    assert [(repair.path.name, repair.kind, repair.what) for repair in annotation.repairs] == [
        ("a.xml", kind, what)
    ]
    assert annotation.fixes == ()
    # Without --fix it is a fault, which names --fix. So does the summary, once.
    assert faults_of(check, GOOD, box) == [
        f"{what.partition(';')[0]}. Draw it again, or {offer} with --fix.",
        "Fix them with --fix, or skip them with --skip-bad",
    ]
    # If it is the only box, it is not dropped: the image would count as one without objects.
    if corners is None:
        remedy = "Draw it again, or remove it"
        for fix, reason in ((False, ""), (True, "; --fix does not drop all boxes of an image")):
            assert faults_of(check, box, box, fix=fix)[1:] == [
                f"{what.partition(';')[0]}. {remedy}{reason}.",
                "Fix them, or skip them with --skip-bad",
            ]


def test_swapped_box_that_extends_outside_gets_two_repairs(check):
    (annotation,) = check((60, 1, 10, 20), fix=True).annotations
    assert [box.corners for box in annotation.objects] == [(10, 1, 40, 20)]
    assert [repair.what.partition("; ")[2] for repair in annotation.repairs] == [
        "corners swapped to 10, 1, 60, 20",
        "clipped to 10, 1, 40, 20",
    ]


def test_box_that_equals_another_after_its_repair_is_removed(check):
    (annotation,) = check(GOOD, (11, 2, 1, 12), fix=True).annotations
    assert [box.corners for box in annotation.objects] == [GOOD]
    assert annotation.fixes == ("box repeated",)


def test_image_without_objects_stays_one(check):
    assert check(fix=True).annotations[0].objects == ()


def test_other_faults_remain_and_summary_says_that_some_can_be_fixed(check):
    assert faults_of(check, GOOD, (7, 7, 7, 7), ("x", 1, 2, 3))[-1] == (
        "Fix them, some with --fix, or skip them with --skip-bad"
    )
    assert faults_of(check, GOOD, (7, 7, 7, 7), ("x", 1, 2, 3), fix=True) == [
        "<xmin> of object 3 'stop' is 'x'. Draw the box again.",
        "Fix them, or skip them with --skip-bad",
    ]
    # A box that is repaired must have a known class, too.
    assert faults_of(check, GOOD, (20, 1, 10, 20), fix=True, classes=["tram"])[1].startswith(
        "class 'stop' of object 2 is not in the label map"
    )
    (annotation,) = check(GOOD, (20, 1, 10, 20), fix=True, classes=["stop"]).annotations
    assert len(annotation.objects) == 2


YOLO = "0 0.5 0.5 0.25 0.5\n0 0.5 0.5 -0.25 0.5\n0 0.5 0.5 0 0.5\n0 1 0.5 0.25 0.5\n"
COCO_BOXES = ([15, 7.5, 10, 15], [25, 7.5, -10, 15], [20, 7.5, 0, 15], [35, 7.5, 10, 15])
# Format: name and content of the annotations, and files beside them. Each has four boxes of an
# image: a good one, the same with swapped corners, one without area, and one that is half outside.
FORMATS = {
    "voc": {"a.xml": "<annotation>" + "".join(
        voc_object(box=(x, 7.5, x + width, 22.5))
        for x, width in ((15, 10), (25, -10), (20, 0), (35, 10))
    ) + "</annotation>"},
    "coco": {"a.json": json.dumps({
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "stop"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1, "bbox": bbox}
                        for n, bbox in enumerate(COCO_BOXES)],
    })},
    "csv": {"a.csv": HEADER + "".join(
        f"a.jpg,40,30,stop,{x},7.5,{x + width},22.5\n"
        for x, width in ((15, 10), (25, -10), (20, 0), (35, 10))
    )},
    "yolo": {"a.txt": YOLO, "classes.txt": "stop\n"},
    "mot": {"gt.txt": "".join(
        f"1,{n},{x},7.5,{width},15,1,1,1\n"
        for n, (x, width) in enumerate(((15, 10), (25, -10), (20, 0), (35, 10)))
    ), "labels.txt": "stop\n"},
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_boxes_of_all_formats_are_repaired(tmp_path, kind):
    for name in ("a.jpg", "000001.jpg"):
        write_image(tmp_path / "images" / name)
    for name, text in FORMATS[kind].items():
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / name).write_text(text)
    with pytest.raises(BadFilesError, match="with --fix"):
        read_folder(tmp_path / "notes", tmp_path / "images")
    (annotation,) = read_folder(tmp_path / "notes", tmp_path / "images", fix=True).annotations
    # The swapped box equals the first one, and is therefore removed.
    assert [box.corners for box in annotation.objects] == [
        (15, 7.5, 25, 22.5),
        (35, 7.5, 40, 22.5),
    ]
    kinds = [repair.kind for repair in annotation.repairs]
    # Boxes of MOT may extend beyond the image.
    assert kinds == ["corners swapped", "box dropped"] + ["box outside"] * (kind != "mot")


@pytest.mark.parametrize("fix", [False, True])
def test_annotation_ids_of_coco_may_repeat(tmp_path, fix):
    boxes = [{"id": 7, "image_id": 1, "category_id": 5, "bbox": [x, 2, 10, 10]} for x in (1, 2)]
    boxes.append({"id": 7, "image_id": 2, "category_id": 9, "bbox": [1, 2, 10, 10]})
    coco(tmp_path / "a.json", annotations=boxes)
    for name in ("a.jpg", "deep/b.jpg", "c.jpg"):
        write_image(tmp_path / "images" / name)
    checked = read_folder(tmp_path / "a.json", tmp_path / "images", fix=fix)
    assert [len(annotation.objects) for annotation in checked.annotations] == [2, 1, 0]
    assert [annotation.repairs for annotation in checked.annotations] == [()] * 3


def photo(black_rows: int = 0) -> Image.Image:
    """Returns an image of 320 x 240 with details everywhere, and black rows at the bottom."""
    x, y = np.meshgrid(np.arange(320), np.arange(240))
    noise = np.random.default_rng(5).integers(0, 40, x.shape)
    rgb = np.dstack([150 + x // 4, 60 + y // 3 + noise, 90 - noise]).astype(np.uint8)
    rgb[240 - black_rows :] = 0
    return Image.fromarray(rgb)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


JPEG = encoded(photo(), "JPEG")
PROGRESSIVE = encoded(photo(), "JPEG", progressive=True)
PNG = encoded(photo(), "PNG")
# The rows of an interlaced image; any byte from 0 to 4 may be the filter of a row.
FILTERED = np.random.default_rng(5).integers(1, 5, 320 * 240 * 3 + 600, np.uint8).tobytes()
BLACK = encoded(Image.new("RGB", (320, 240)), "PNG", compress_level=0)
# Description: file, and the format of its record.
REPAIRABLE = {
    "JPEG without its end marker": (JPEG[:-2], b"jpeg"),
    "JPEG without 20 bytes": (JPEG[:-20], b"jpeg"),
    "JPEG filled up with zeros": (JPEG[:-20] + bytes(1000), b"jpeg"),
    "JPEG with a black border": (encoded(photo(black_rows=40), "JPEG")[:-2], b"jpeg"),
    "progressive JPEG": (PROGRESSIVE[:-20], b"jpeg"),
    "gray JPEG": (encoded(photo().convert("L"), "JPEG")[:-20], b"jpeg"),
    "CMYK JPEG": (encoded(photo().convert("CMYK"), "JPEG")[:-20], b"jpeg"),
    "PNG without 60 bytes": (PNG[:-60], b"png"),
    "PNG with a palette": (encoded(photo().convert("P"), "PNG")[:-60], b"png"),
    "PNG with opacity": (encoded(photo().convert("RGBA"), "PNG")[:-60], b"png"),
}
BROKEN = {
    "JPEG without 3 %": JPEG[: len(JPEG) * 97 // 100],
    "half of a JPEG": JPEG[: len(JPEG) // 2],
    "half of a JPEG filled up": JPEG[: len(JPEG) // 2] + bytes(4 * len(JPEG)),
    "header of a JPEG": JPEG[:300],
    "JPEG without pixels": JPEG[: JPEG.index(b"\xff\xda") + 14],
    "quarter of a progressive JPEG": PROGRESSIVE[: len(PROGRESSIVE) // 4],
    "first scans of a progressive JPEG": PROGRESSIVE[: PROGRESSIVE.rindex(b"\xff\xda")],
    "half of a PNG": PNG[: len(PNG) // 2],
    "header of a PNG": PNG[:40],
    "interlaced PNG": png_file((b"IHDR", PNG[16:28] + b"\1"), (b"IDAT", zlib.compress(FILTERED)))[
        :-60
    ],
    "PNG whose last rows could be black": BLACK[:-60],
    "BMP": encoded(photo(), "BMP")[:-60],
    "WebP": encoded(photo(), "WEBP")[:-20],
}


def voc_with(folder: Path, data: bytes) -> Path:
    """Writes a VOC folder with a complete image and one with this content."""
    write_image(folder / "images/good.jpg", (320, 240))
    (folder / "images/bad.jpg").write_bytes(data)
    for name in ("good", "bad"):
        write_xml(folder / f"annotations/{name}.xml", voc_object(), size=(320, 240))
    return folder


@pytest.mark.parametrize(("data", "record_format"), REPAIRABLE.values(), ids=REPAIRABLE)
def test_image_without_its_end_is_encoded_again(tmp_path, data, record_format):
    voc = voc_with(tmp_path / "voc", data)
    with pytest.raises(BadFilesError) as caught:
        run(voc, split=(1, 0, 0))
    (fault,) = caught.value.errors
    assert str(fault).startswith(f"{voc}/images/bad.jpg: cannot be decoded: ")
    assert str(fault).endswith(". Re-save it as JPEG or PNG, or re-encode it with --fix.")
    assert caught.value.remedy == "Fix them with --fix, or skip them with --skip-bad"

    rows = np.asarray(photo(), int)[:200]  # of every image in the table
    for decode in (True, False):
        data_set = run(voc, f"data {decode}", split=(1, 0, 0), fix=True, decode=decode)
        manifest = json.loads((data_set.folder / "dataset.json").read_text())
        (entry,) = manifest["fixed"]
        assert (entry["file"], entry["kind"]) == (f"{voc}/images/bad.jpg", "image re-encoded")
        assert entry["what"].startswith("its end is missing (0.")
        assert entry["what"].endswith(" of its pixels); re-encoded")
        records = read_records(data_set.split("train").shards)
        (record,) = (r for r in records if r.annotation.source_id == "bad.jpg")
        assert record.image.format == record_format
        # The file in the record is complete, and nearly all pixels are right.
        with Image.open(io.BytesIO(record.image.data)) as image:
            pixels = np.asarray(image.convert("RGB"), int)
        assert pixels.shape == (240, 320, 3)
        assert np.abs(pixels[:200].mean(-1) - rows.mean(-1)).mean() < 15
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_image_that_lacks_more_stays_a_fault(tmp_path, data):
    voc = voc_with(tmp_path / "voc", data)
    for fix in (False, True):
        with pytest.raises(BadFilesError) as caught:
            run(voc, fix=fix)
        (fault,) = caught.value.errors
        assert str(fault).startswith(f"{voc}/images/bad.jpg: ")
        assert "with --fix" not in f"{fault} {caught.value}"
    if data == BROKEN["half of a JPEG"]:
        assert fault.remedy == "Get the complete file; --fix needs 99% of its pixels"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    data_set = run(voc, fix=True, skip_bad=True, split=(1, 0, 0))
    assert data_set.split("train").images == 1


def damage(voc: Path) -> None:
    """Adds five faults that can be repaired, and one that cannot."""
    good = voc_object("stop", GOOD)
    for number, box in enumerate(((7, 7, 7, 7), (45, 1, 60, 20), (-5, 1, 10, 20), (20, 1, 10, 20))):
        write_xml(voc / f"annotations/{number}.xml", good, voc_object("stop", box))
    write_xml(voc / "annotations/5.xml", voc_object("stop", (7, 7, 7, 7)))
    jpeg = write_image(voc / "images/6.jpg", (320, 240))
    jpeg.write_bytes(JPEG[:-20])
    write_xml(voc / "annotations/6.xml", good, size=(320, 240))


def test_command_prints_each_kind_of_repair_with_its_count(voc, tmp_path, monkeypatch):
    monkeypatch.setattr("tfod.parallel.CHUNK", 4)  # worker processes return the faults
    damage(voc)
    folders = ["--annotations", voc / "annotations", "--images", voc / "images"]
    arguments = ["convert", *folders, "--output", tmp_path / "data"]

    def tfod(*options: str):
        return CliRunner().invoke(main, [str(argument) for argument in (*arguments, *options)])

    result = tfod()
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(
        "6 unusable files (3 box without area, 2 box outside, 1 image unreadable). "
        "Fix them, some with --fix, or skip them with --skip-bad."
    )
    assert result.stderr.count("--fix") == 6
    result = tfod("--skip-bad")
    assert "6 of 30 annotations (20.0%) were skipped" in result.stderr
    assert "dataset.json lists them; --fix repairs some of them" in result.stderr
    result = tfod("--fix", "--overwrite")
    assert result.exit_code == 2
    assert "(1 box without area). Fix them, or skip them with --skip-bad." in result.stderr
    result = tfod("--fix", "--skip-bad", "--overwrite")
    assert result.exit_code == 0, result.output
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: 2 boxes without area or outside their image were dropped; dataset.json lists them",
        "note: 1 box extended outside its image and was clipped; dataset.json lists it",
        "note: 1 box had swapped corners, which were swapped back; dataset.json lists it",
        "note: 1 image lacks its end and was re-encoded; dataset.json lists it",
        "note: 1 of 30 annotations (3.3%) were skipped: 1 box without area; dataset.json lists "
        "them",
    ]
    manifest = json.loads((tmp_path / "data/dataset.json").read_text())
    assert [(Path(entry["file"]).name, entry["kind"]) for entry in manifest["fixed"]] == [
        ("0.xml", "box dropped"),
        ("1.xml", "box dropped"),
        ("2.xml", "box outside"),
        ("3.xml", "corners swapped"),
        ("6.jpg", "image re-encoded"),
    ]
    assert [Path(entry["file"]).name for entry in manifest["skipped"]] == ["5.xml"]


def test_repairs_are_the_same_with_any_number_of_processes(voc, monkeypatch):
    monkeypatch.setattr("tfod.conversion.converter.FEW_IMAGES", 0)
    monkeypatch.setattr("tfod.parallel.CHUNK", 4)
    damage(voc)
    first, second = (
        contents(run(voc, str(n), workers=n, fix=True, skip_bad=True).folder) for n in (1, 2)
    )
    assert first == second


def test_only_repairs_of_images_that_are_used_are_listed(voc):
    damage(voc)
    for split in ("train", "val", "test"):
        (voc / f"{split}.txt").write_text("1\n20\n" if split == "train" else "")
    data = run(voc, fix=True, skip_bad=True, split_by=voc)
    manifest = json.loads((data.folder / "dataset.json").read_text())
    assert [Path(entry["file"]).name for entry in manifest["fixed"]] == ["1.xml"]
    assert Counter(remark.kind for remark in data.remarks)["box dropped"] == 1


def test_data_set_without_faults_is_the_same_with_fix(voc):
    assert contents(run(voc, "a", fix=True).folder) == contents(run(voc, "b").folder)


@pytest.mark.skipif(not BCCD.is_dir(), reason="needs ../shared")
def test_public_blood_cells_are_converted_whole(tmp_path):
    with pytest.raises(BadFilesError, match=r"2 box without area\)\. Fix them with --fix"):
        convert(BCCD / "annotations", BCCD / "images", tmp_path / "data")
    data = convert(BCCD / "annotations", BCCD / "images", tmp_path / "data", fix=True)
    assert sum(split.images for split in data.splits.values()) == 292
    assert json.loads((data.folder / "dataset.json").read_text())["fixed"][0] == {
        "file": f"{BCCD}/annotations/BloodImage_00338.xml",
        "kind": "box dropped",
        "what": "object 13 'RBC' extends from x 504 to 504 and from y 337 to 337; dropped",
    }
