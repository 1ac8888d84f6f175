"""Randomly damaged files are used or refused: none crashes, hangs, or takes all memory."""

from __future__ import annotations

import io
import re
import signal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.foreign_records import encoded, foreign_record, write_label_map, write_records
from helpers.limits import scaled
from helpers.table_files import HEADER, coco
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Annotation
from tfod.annotation.raw_annotation import check_annotation
from tfod.annotation.voc import read_xml
from tfod.conversion.adoption import adopt
from tfod.conversion.annotation_folder import read_folder
from tfod.conversion.record_check import LabelMap, check_record
from tfod.dataset.records import read_example, read_records
from tfod.errors import BadFilesError, FileFault, UserError
from tfod.image_files import list_images
from tfod.images import FORMATS, check_image, check_image_without_end, encode_for_training

# Number of damaged files: few in every run of the tests, all with `tools/test.sh --all`.
mutants = pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.slow)])
few_mutants = pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
CPU_SECONDS = 2  # on the reference machine; the slowest file takes a quarter of it
# The largest image that Pillow accepts takes 358 with four channels, and 268 more as RGB.
MAX_MEGABYTES = 700
CLEAR_REFS = Path("/proc/self/clear_refs")  # Linux only

CLASSES = {"classes.txt": "stop\ntram\n"}
OPEN_IMAGES = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"
LABELS = "1 0.5 0.5 0.5 0.2\n0 0.5 0.5 0.25 0.5\n"
POSES = "1 0.5 0.5 0.5 0.2 0.1 0.2\n0 0.5 0.5 0.25 0.5 0.3 0.4\n"
YAML = "kpt_shape: &k [1, 2]\nother: *k\nnames: [off, 'tram']\n"
# By format: the file that is damaged, its content, and files beside it.
TABLES = {
    "tutorial": ("a.csv", HEADER + "a.jpg,40,30,stop,1,2,11,12\n" * 2, {}),
    "udacity": ("a.csv", "frame,xmin,xmax,ymin,ymax,class_id\na.jpg,20,29,3,12,1\n", {}),
    "retinanet": ("a.csv", "a.jpg,1,2,11,12,stop\na.jpg,3,4,11,12,stop\n", {}),
    "open images": ("a.csv", OPEN_IMAGES + "a,/m/01,0.1,0.5,0.2,0.8,1\n", {}),
    "mot": ("gt.txt", "1,1,2,3,10,12,1,1,0.9\n1,2,30,3,40,12,1,1,0.5\n", {}),
    "yolo": ("a.txt", LABELS, CLASSES),
    "yolo classes": ("classes.txt", CLASSES["classes.txt"], {"a.txt": LABELS}),
    "yolo poses": ("a.txt", POSES, {"data.yaml": YAML}),
    "yolo yaml": ("data.yaml", YAML, {"a.txt": POSES}),
}

damages = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "delete", "insert", "repeat", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=5,
)
repeatable = settings(deadline=None, derandomize=True, database=None)


def mutate(data: bytes, steps: list[tuple[str, float, bytes]]) -> bytes:
    for kind, fraction, piece in steps:
        position = int(fraction * len(data))
        rest = data[position:]
        if kind == "flip":
            rest = bytes(byte ^ piece[0] for byte in rest[:1]) + rest[1:]
        elif kind == "set":
            rest = piece + rest[len(piece) :]
        elif kind == "delete":
            rest = rest[len(piece) :]
        elif kind == "insert":
            rest = piece + rest
        elif kind == "repeat":
            rest = rest[: 8 * piece[0]] + rest
        else:
            rest = b""
        data = data[:position] + rest
    return data


class TooLong(BaseException):
    """Not an Exception: that would be reported as a fault of the image."""


def reset_peak() -> None:
    """Lets `peak_megabytes` ignore the tests before this one, which `resource.getrusage` counts."""
    if CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5")


def peak_megabytes() -> float:
    """Returns the peak memory of this process since the last `reset_peak`; 0 if not on Linux."""
    status = CLEAR_REFS.with_name("status").read_text() if CLEAR_REFS.exists() else "VmHWM: 0"
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


@pytest.fixture
def start_cpu_limit():
    """Starts the CPU time limit when called. On Linux, too much memory fails the test too."""
    seconds = scaled(CPU_SECONDS)

    def too_long(*_):
        raise TooLong(f"took more than {seconds:.1f} s of CPU time")

    reset_peak()
    before = peak_megabytes()
    handler = signal.signal(signal.SIGVTALRM, too_long)
    yield lambda: signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, handler)
    assert peak_megabytes() - before < MAX_MEGABYTES


@mutants
def test_damaged_xml(tmp_path, start_cpu_limit, count):
    write_image(tmp_path / "images/a.jpg")
    tags = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
    xml = write_xml(
        tmp_path / "a.xml", "<folder>x</folder>", voc_object("stop", (1, 2, 11, 12), tags)
    )
    images, original, used = list_images(tmp_path / "images"), xml.read_bytes(), []

    @settings(repeatable, max_examples=count)
    @given(damages, st.booleans())
    def check(steps, fix):
        xml.write_bytes(mutate(original, steps))
        start_cpu_limit()
        try:
            used.append(check_annotation(read_xml(xml), images, fix=fix))
        except BadFilesError as error:
            assert error.errors
            assert all(len(str(fault).splitlines()) == 1 for fault in error.errors)

    check()
    for annotation in used:
        for box in annotation.objects:
            assert 0 <= box.xmin < box.xmax <= 40 and 0 <= box.ymin < box.ymax <= 30
    assert 0 < len(used) < count  # both outcomes occurred


@few_mutants
@pytest.mark.parametrize("kind", ["coco.json", *TABLES])
def test_damaged_tables(tmp_path, start_cpu_limit, kind, count):
    write_image(tmp_path / "images/a.jpg")
    write_image(tmp_path / "images/000001.jpg")
    folder = tmp_path / "annotations"
    folder.mkdir()
    if kind == "coco.json":
        image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
        annotation = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 10, 10]}
        path = coco(folder / kind, images=[image], annotations=[annotation])
    else:
        name, text, others = TABLES[kind]
        path = folder / name
        path.write_text(text)
        for other, content in others.items():
            (folder / other).write_text(content)
    original, outcomes = path.read_bytes(), set()

    @settings(repeatable, max_examples=count)
    @given(damages, st.booleans())
    def check(steps, fix):
        path.write_bytes(mutate(original, steps))
        start_cpu_limit()
        try:
            (annotation,) = read_folder(folder, tmp_path / "images", fix=fix).annotations
        except UserError as error:
            assert all(
                len(str(line).splitlines()) == 1 for line in getattr(error, "errors", [error])
            )
            outcomes.add("refused")
        else:
            outcomes.add("used")
            for box in annotation.objects:
                assert 0 <= box.xmin < box.xmax <= 40 and 0 <= box.ymin < box.ymax <= 30

    check()
    assert outcomes == {"refused", "used"}


def images_of_all_formats() -> list[bytes]:
    noise = Image.effect_noise((40, 30), 80)
    color = Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_180), noise])
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for kind in FORMATS:
        if kind not in Image.SAVE:
            continue
        buffer = io.BytesIO()
        options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
        color.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    for kind, image in (
        ("PNG", noise.convert("I;16")),
        ("PNG", color.convert("RGBA")),
        ("PNG", color.convert("P")),
        ("JPEG", color.convert("CMYK")),
        ("TIFF", noise.convert("F")),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files.append(buffer.getvalue())
    return files


@mutants
@pytest.mark.filterwarnings("ignore:::PIL")
def test_damaged_images(tmp_path, start_cpu_limit, count):
    originals = images_of_all_formats()
    path: Path = tmp_path / "a.jpg"
    outcomes = {"used": 0, "refused": 0}

    @settings(repeatable, max_examples=count)
    @given(st.integers(0, len(originals) - 1), damages, st.booleans())
    def check(index, steps, header):
        original = originals[index]
        # Half of the files are damaged in the first bytes, which contain the sizes.
        part = original[:64] if header else original
        path.write_bytes(mutate(part, steps) + original[len(part) :])
        start_cpu_limit()
        without_end = partial(encode_for_training, without_end=True)
        for read in (check_image, check_image_without_end, encode_for_training, without_end):
            try:
                read(path)
                outcomes["used"] += 1
            except FileFault as fault:
                assert len(str(fault).splitlines()) == 1
                outcomes["refused"] += 1

    check()
    assert all(outcomes.values())


@mutants
def test_damaged_records(start_cpu_limit, count):
    labels = LabelMap({3: "stop", 7: "tram"}, {"stop": 3, "tram": 7})
    image = encoded(kind="PNG")
    example = foreign_record(image=image, **{"image/object/view": [b"Left", b"Right"]})
    original = example.SerializeToString(deterministic=True)
    start = original.index(image) + len(image)  # most damage to the image is found by its checksums
    used = []

    @settings(repeatable, max_examples=count)
    @given(damages, st.booleans())
    def check(steps, everywhere):
        part = b"" if everywhere else original[:start]
        start_cpu_limit()
        try:
            data = part + mutate(original[len(part) :], steps)
            used.append(check_record(data, Path("a.record"), 1, "train-1", labels).data)
        except BadFilesError as error:
            assert error.errors
            assert all(len(str(fault).splitlines()) == 1 for fault in error.errors)

    check()
    for data in used:
        assert_usable(read_example(data, Path("a.record")).annotation)
        # A second check finds nothing to change.
        assert not check_record(data, Path("a.record"), 1, "train-1", labels).changed
    assert 0 < len(used) < count  # both outcomes occurred


@few_mutants
def test_damaged_record_files(tmp_path, start_cpu_limit, count):
    examples = [foreign_record(f"{n}.png", encoded(n, "PNG")) for n in range(3)]
    path = write_records(tmp_path / "train.record", *examples)
    label_map = write_label_map(tmp_path / "map.pbtxt")
    original, images = path.read_bytes(), set()

    @settings(repeatable, max_examples=count)
    @given(damages)
    def check(steps):
        path.write_bytes(mutate(original, steps))
        start_cpu_limit()
        options = {"label_map": label_map, "skip_bad": True, "overwrite": True}
        try:
            data = adopt({"train": path}, tmp_path / "data", **options)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            images.add(0)
        else:
            split = data.split("train")
            images.add(split.images)
            for record in read_records(split.shards):
                assert_usable(record.annotation)

    check()
    assert 0 in images and len(images) > 1


def assert_usable(annotation: Annotation) -> None:
    assert (annotation.width, annotation.height) == (40, 30)
    for box in annotation.objects:
        assert box.name in ("stop", "tram")
        assert 0 <= box.xmin < box.xmax <= 40 and 0 <= box.ymin < box.ymax <= 30
