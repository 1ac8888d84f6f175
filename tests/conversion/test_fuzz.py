"""Files damaged at random are used or refused; none crashes us, hangs, or takes all memory."""

from __future__ import annotations

import io
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.table_files import HEADER, coco
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation.raw_annotation import check_annotation
from tfod.annotation.voc import read_xml
from tfod.conversion.annotation_folder import read_folder
from tfod.errors import BadFilesError, FileFault, UserError
from tfod.image_files import list_images
from tfod.images import FORMATS, check_image, encode_for_training

MUTANTS = 5000  # of XML files, and of pictures
CPU_SECONDS = 1
# A picture as large as Pillow lets pass takes 358 with four channels, and 268 more as RGB.
MEGABYTES = 700

changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "delete", "insert", "repeat", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=5,
)
many = settings(max_examples=MUTANTS, deadline=None, derandomize=True, database=None)


def mutate(data: bytes, steps: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, piece in steps:
        at = int(place * len(data))
        rest = data[at:]
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
        data = data[:at] + rest
    return data


class TooLong(BaseException):
    """Not an Exception, which would count as a fault of the picture."""


@pytest.fixture
def limited():
    """Fails what takes a second of this processor, or memory in hundreds of megabytes."""

    def too_long(*_):
        raise TooLong(f"took {CPU_SECONDS} s of the processor")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handler = signal.signal(signal.SIGVTALRM, too_long)
    yield lambda: signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, handler)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEGABYTES * 1024


def test_damaged_xml(tmp_path, limited):
    write_image(tmp_path / "images/a.jpg")
    tags = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
    xml = write_xml(
        tmp_path / "a.xml", "<folder>x</folder>", voc_object("stop", (1, 2, 11, 12), tags)
    )
    pictures, whole, used = list_images(tmp_path / "images"), xml.read_bytes(), []

    @many
    @given(changes)
    def check(steps):
        xml.write_bytes(mutate(whole, steps))
        limited()
        try:
            used.append(check_annotation(read_xml(xml), pictures))
        except BadFilesError as error:
            assert error.errors
            assert all(len(str(fault).splitlines()) == 1 for fault in error.errors)

    check()
    for annotation in used:
        for box in annotation.objects:
            assert 0 <= box.xmin < box.xmax <= 40 and 0 <= box.ymin < box.ymax <= 30
    assert 0 < len(used) < MUTANTS  # both outcomes were seen


@pytest.mark.parametrize("kind", ["coco.json", "boxes.csv", "yolo.txt"])
def test_damaged_tables(tmp_path, limited, kind):
    write_image(tmp_path / "images/a.jpg")
    folder = tmp_path / "notes"
    folder.mkdir()
    if kind == "coco.json":
        image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
        drawn = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 10, 10]}
        coco(folder / kind, images=[image], annotations=[drawn])
    elif kind == "boxes.csv":
        (folder / kind).write_text(f"{HEADER}a.jpg,40,30,stop,1,2,11,12\n" * 2)
    else:
        kind = "a.txt"
        (folder / "classes.txt").write_text("stop\ntram\n")
        (folder / kind).write_text("1 0.5 0.5 0.5 0.2\n0 0.5 0.5 0.25 0.5\n")
    path = folder / kind
    whole, outcomes = path.read_bytes(), set()

    @settings(many, max_examples=1000)
    @given(changes)
    def check(steps):
        path.write_bytes(mutate(whole, steps))
        limited()
        try:
            (annotation,) = read_folder(folder, tmp_path / "images").annotations
        except UserError as error:
            assert all(len(str(e).splitlines()) == 1 for e in getattr(error, "errors", [error]))
            outcomes.add("refused")
        else:
            outcomes.add("used")
            for box in annotation.objects:
                assert 0 <= box.xmin < box.xmax <= 40 and 0 <= box.ymin < box.ymax <= 30

    check()
    assert outcomes == {"refused", "used"}


def pictures_of_all_formats() -> list[bytes]:
    noise = Image.effect_noise((40, 30), 80)
    colour = Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_180), noise])
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for kind in FORMATS:
        if kind not in Image.SAVE:
            continue
        buffer = io.BytesIO()
        options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
        colour.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    for kind, image in (
        ("PNG", noise.convert("I;16")),
        ("PNG", colour.convert("RGBA")),
        ("PNG", colour.convert("P")),
        ("JPEG", colour.convert("CMYK")),
        ("TIFF", noise.convert("F")),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        found.append(buffer.getvalue())
    return found


@pytest.mark.filterwarnings("ignore:::PIL")
def test_damaged_pictures(tmp_path, limited):
    originals = pictures_of_all_formats()
    path: Path = tmp_path / "a.jpg"
    outcomes = {"used": 0, "refused": 0}

    @many
    @given(st.integers(0, len(originals) - 1), changes, st.booleans())
    def check(which, steps, header):
        original = originals[which]
        # Half of the damage is done to the first bytes, where the sizes stand.
        part = original[:64] if header else original
        path.write_bytes(mutate(part, steps) + original[len(part) :])
        limited()
        for read in (check_image, encode_for_training):
            try:
                read(path)
                outcomes["used"] += 1
            except FileFault as fault:
                assert len(str(fault).splitlines()) == 1
                outcomes["refused"] += 1

    check()
    assert all(outcomes.values())
