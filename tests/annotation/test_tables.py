"""Tests `udacity`, `retinanet`, `open_images` and `mot`, and PASCAL VOC as it is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.conversion import split_of
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Annotation, Box
from tfod.conversion import convert
from tfod.conversion.annotation_folder import read_folder
from tfod.errors import UserError


@pytest.fixture
def read(tmp_path):
    """A function that writes text files and reads the annotations in tmp_path/notes."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(tmp_path / "images" / name)

    def read(**texts: str) -> tuple[Annotation, ...]:
        for name, text in texts.items():
            path = tmp_path / "notes" / f"{name}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8-sig")
        return read_folder(tmp_path / "notes", tmp_path / "images").annotations

    return read


@pytest.fixture
def boxes(read):
    """As `read`, but returns the boxes of each image."""
    return lambda **texts: {a.source_id: a.objects for a in read(**texts)}


@pytest.fixture
def faults(read):
    """As `read`, but returns the messages."""

    def faults(**texts: str) -> list[str]:
        with pytest.raises(UserError) as caught:
            read(**texts)
        return [str(fault) for fault in getattr(caught.value, "errors", [caught.value])]

    return faults


PUBLISHED = "xmin,xmax,ymin,ymax,Frame,Label,Preview URL\n"
NUMBERED = "frame,xmin,xmax,ymin,ymax,class_id\n"
REREAD, UNCLEAR = ("columns in another order",), ("columns unclear",)


@pytest.mark.parametrize(
    ("text", "expected", "fixes"),
    [
        # The second row has no area if the header is right.
        (PUBLISHED + "2,3,9,8,a.jpg,Car,http://x\n7,6,12,9,a.jpg,Truck,http://x\n",
         (Box("Car", 2, 3, 9, 8), Box("Truck", 7, 6, 12, 9)), REREAD),
        (PUBLISHED + "2,9,3,8,a.jpg,Car\n30,35,4,9,a.jpg,Truck,\n",
         (Box("Car", 2, 3, 9, 8), Box("Truck", 30, 4, 35, 9)), ()),
        (PUBLISHED + "2,9,3,12,a.jpg,Car,\n", (Box("Car", 2, 3, 9, 12),), UNCLEAR),
        (NUMBERED + "a.jpg,30,39,3,8,1\na.jpg,2,9,3,8,12\n",
         (Box("1", 30, 3, 39, 8), Box("12", 2, 3, 9, 8)), ()),
    ],
)  # fmt: skip
def test_udacity_is_read(read, text, expected, fixes):
    (annotation,) = read(labels=text)
    assert (annotation.objects, annotation.fixes) == (expected, fixes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NUMBERED + "a.jpg,30,x,3,8,1\n", "line 2: the box is '30, 3, x, 8'. Draw it again."),
        (NUMBERED + "a.jpg,30,39,3,8,\n", "line 2: has no class. Write the class."),
        (NUMBERED + "x.jpg,30,39,3,8,1\n", "no image 'x.jpg'"),
        (NUMBERED + "a.jpg,39,30,3,8,1\n", "'a.jpg': line 2 '1' extends from x 39 to 30"),
        (PUBLISHED + "2,9,3,8,a.jpg,Car, red,http://x\n", "has more values than columns"),
    ],
)
def test_udacity_fault_is_reported(faults, text, message):
    assert message in faults(labels=text)[0]


@pytest.mark.parametrize(
    ("rows", "kind", "text"),
    [
        ("2,3,9,8,a.jpg,Car\n7,6,13,12,a.jpg,Car\n", "columns in another order",
         "labels.csv: the columns xmin, xmax, ymin, ymax contain xmin, ymin, xmax, ymax, as in "),
        ("2,9,3,12,a.jpg,Car\n", "columns unclear",
         "labels.csv: the columns xmin, xmax, ymin, ymax could also contain xmin, ymin, xmax, "),
    ],
)  # fmt: skip
def test_udacity_columns_in_another_order_get_a_remark(tmp_path, rows, kind, text):
    write_image(tmp_path / "images/a.jpg")
    (tmp_path / "labels.csv").write_text("xmin,xmax,ymin,ymax,Frame,Label\n" + rows)
    paths = tmp_path / "labels.csv", tmp_path / "images", tmp_path / "data"
    (remark,) = convert(*paths, split=(1, 0, 0)).remarks
    assert (remark.kind, remark.count) == (kind, 1)
    assert remark.what.startswith(text)


def test_retinanet_is_read_without_its_class_list(tmp_path, boxes):
    stop, negative = "images/a.jpg,1,2,11,12.5,stop\n", "/home/me/images/b.jpg,,,,,\n"
    tram = "images/a.jpg,3,4,8,10,tram\n"
    expected = {"a.jpg": (Box("stop", 1, 2, 11, 12.5), Box("tram", 3, 4, 8, 10)), "b.jpg": ()}
    assert boxes(annotations=stop + negative + tram, classes="stop,0\ntram,1\n") == expected
    assert boxes(annotations=negative + stop + tram) == expected
    (tmp_path / "notes/annotations.csv").unlink()
    with pytest.raises(UserError, match=r"classes\.csv: has no column filename"):
        boxes()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,1,2,x,12,stop", "line 2: the box is '1, 2, x, 12'. Draw it again."),
        ("a.jpg,1,2,11,12", "line 2: has no class. Write the class."),
        ("a.jpg,1,2,11,12,stop,sign", "line 2: has more values than columns: 'sign'. Put"),
        (",1,2,11,12,stop", "line 2: has no filename"),
        ("a.jpg,,,,,stop", "line 2: the box is ', , , '"),
        ("a.jpg,11,2,1,12,stop", "line 2 'stop' extends from x 11 to 1"),
    ],
)
def test_retinanet_fault_is_reported(faults, row, message):
    assert message in faults(annotations=f"c.jpg,1,2,11,12,stop\n{row}\n")[0]


OPEN_IMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside\n"
    "a,xclick,/m/01,1,0.25,0.5,0,1,1,0,0,0,0\n"
    "a,xclick,/m/02,1,0,0.5,0.5,1,-1,-1,1,0,0\n"
    "b,xclick,/m/01,1,0.25,0.5,0,1,0,1,0,0,0\n"
)


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n"])
def test_open_images_is_read_with_class_names(read, header):
    descriptions = header + '/m/01,Traffic light\n/m/02,"Bus, red"\n'
    annotations = read(
        validation_annotations_bbox=OPEN_IMAGES,
        **{"class-descriptions-boxable": descriptions},
        image_labels="ImageID,Source,LabelName,Confidence\na,verification,/m/01,1\n",
    )
    assert {a.source_id: a.objects for a in annotations} == {
        "a.jpg": (
            Box("Traffic light", 10, 0, 20, 30, occluded=True),
            Box("Bus, red", 0, 15, 20, 30, crowd=True),
        ),
        "b.jpg": (Box("Traffic light", 10, 0, 20, 30, truncated=True),),
    }


def test_open_images_without_class_names_keeps_the_labels(tmp_path, boxes):
    expected = ["/m/01", "/m/02"]
    assert [box.name for box in boxes(bbox=OPEN_IMAGES)["a.jpg"]] == expected
    columns = OPEN_IMAGES.replace("IsOccluded", "Other")
    assert [box.occluded for box in boxes(bbox=columns)["a.jpg"]] == [False, False]
    # The names may be one folder above a given file.
    (tmp_path / "class-descriptions.csv").write_text("/m/01,Stop\n")
    folder = read_folder(tmp_path / "notes/bbox.csv", tmp_path / "images")
    assert [box.name for box in folder.annotations[0].objects] == ["Stop", "/m/02"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,x,/m/01,1,0.5,0.25,0,1", "'a': line 2 '/m/01' extends from x 0.5 to 0.25"),
        ("a,x,/m/01,1,10,20,0,1", "at 400, 0, 800, 30 extends outside the image of 40 x 30"),
        ("a,x,/m/01,1,0.1,0.2,0", "line 2: the box is '0.1, 0, 0.2, '"),
        ("z,x,/m/01,1,0.1,0.2,0,1", "no image 'z'"),
    ],
)
def test_open_images_fault_is_reported(faults, row, message):
    assert message in faults(bbox=OPEN_IMAGES.splitlines()[0] + f"\n{row}\n")[0]


def write_sequence(folder: Path, text: str, frames: int = 2, name: str = "{:06d}.jpg") -> None:
    (folder / "gt").mkdir(parents=True, exist_ok=True)
    (folder / "gt/gt.txt").write_text(text)
    for frame in range(1, frames + 1):
        color = (40 * frame, 99, sum(folder.name.encode()) * 30 % 256)
        write_image(folder / "img1" / name.format(frame), color=color)


@pytest.mark.parametrize("name", ["{:06d}.jpg", "{:08d}.png"])
def test_mot_is_read(tmp_path, name):
    folder = tmp_path / "train/MOT17-02"
    rows = [
        "1,1,2,3,10,12,1,1,0.9",
        "1,2,30,20,40,50,1,1,0.5",  # beyond the edge
        "1,3,50,20,40,50,1,1,0.5",  # outside
        "1,4,5,5,10,10,0,12,1",  # not to be considered
        "3,4,5,5,10,10,0,8,1",
        "2,1,3,3,10,12,1,7,1",
    ]
    write_sequence(folder, "\n".join(rows), frames=4, name=name)
    (folder / "det").mkdir()
    (folder / "det/det.txt").write_text("1,-1,2,3,10,12,0.5,-1,-1,-1\n")
    for notes, images in (
        (tmp_path / "train", tmp_path / "train"),
        (folder, folder),
        (folder / "gt", folder / "img1"),
        (folder / "gt/gt.txt", folder / "img1"),
    ):
        checked = read_folder(notes, images)
        assert [a.objects for a in checked.annotations] == [
            (Box("pedestrian", 2, 3, 12, 15), Box("pedestrian", 30, 20, 40, 30)),
            (Box("static person", 3, 3, 13, 15),),
        ]
        assert [a.image.stem.lstrip("0") for a in checked.annotations] == ["1", "2"]
        assert checked.annotations[0].fixes == ("box ignored", "box cut", "box cut")
        assert {a.group for a in checked.annotations} == {folder.as_posix()}
        assert checked.unannotated == 2


@pytest.mark.parametrize(
    ("rows", "labels", "names"),
    [
        ("1,1,2,3,10,12,1,-1,-1,-1", None, ["pedestrian"]),  # MOTChallenge 2015
        ("1, 1, 2.5, 3, 10, 12, 1", None, ["pedestrian"]),
        ("1,1,2,3,10,12,1,2,1\n1,2,2,4,9,9,1,1,1", "cat\nbig  dog\n", ["big dog", "cat"]),
    ],
)
def test_mot_class_names(tmp_path, rows, labels, names):
    write_sequence(tmp_path, rows)
    if labels:
        (tmp_path / "gt/labels.txt").write_text(labels)
    (annotation,) = read_folder(tmp_path, tmp_path).annotations
    assert [box.name for box in annotation.objects] == names


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,1,2,3,10,12", "gt.txt: line 1 is '1,1,2,3,10,12'. Write frame, track, left, top,"),
        ("1,1,2,3,10,x,1,1,1", "line 1 is '1,1,2,3,10,x,1,1,1'"),
        ("1.5,1,2,3,10,12,1,1,1", "line 1 is '1.5,1,2,3,10,12,1,1,1'"),
        ("nan,1,2,3,10,12,1,1,1", "line 1 is 'nan,1,2,3,10,12,1,1,1'"),
        ("1,1,2,3,10,12,1,14,1", "line 1 has the class 14, which has no name. Add it to labels"),
        ("1,1,2,3,0,12,1,1,1", "frame 1: line 1 'pedestrian' extends from x 2 to 2"),
        ("9,1,2,3,10,12,1,1,1", "no image '000009'"),
        ("-1,1,2,3,10,12,1,1,1", "no image '-00001'"),
    ],
)
def test_mot_fault_is_reported(tmp_path, rows, message):
    write_sequence(tmp_path / "seq", rows)
    with pytest.raises(UserError) as caught:
        read_folder(tmp_path, tmp_path)
    assert message in str(getattr(caught.value, "errors", [caught.value])[0])


def test_yolo_labels_may_be_named_gt(tmp_path):
    write_image(tmp_path / "gt.jpg")
    (tmp_path / "gt.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("stop\n")
    assert len(read_folder(tmp_path, tmp_path).annotations) == 1


@pytest.mark.parametrize("seed", range(3))
def test_sequence_of_mot_is_in_one_split(tmp_path, seed):
    rows = "".join(f"{frame},1,2,3,10,12,1,1,1\n" for frame in (1, 2, 3))
    for number in range(8):
        write_sequence(tmp_path / f"mot/seq{number}", rows, frames=3)
    mot = tmp_path / "mot"
    splits = split_of(convert(mot, mot, tmp_path / "data", seed=seed))
    assert len(splits) == 24 and set(splits.values()) == {"train", "val", "test"}
    for number in range(8):
        frames = [split for name, split in splits.items() if name.startswith(f"seq{number}/")]
        assert len(frames) == 3 and len(set(frames)) == 1


def test_single_sequence_of_mot_cannot_be_divided(tmp_path):
    write_sequence(tmp_path, "".join(f"{frame},1,2,3,10,12,1,1,1\n" for frame in (1, 2, 3)), 3)
    with pytest.raises(UserError) as caught:
        convert(tmp_path, tmp_path / "img1", tmp_path / "data")
    assert str(caught.value) == (
        "--split: val gets no image: 3 images in 1 group are too few for 3 splits. "
        "Add images of other groups, or give it the fraction 0."
    )
    data = convert(tmp_path, tmp_path / "img1", tmp_path / "data", split=(1, 0, 0))
    assert data.split("train").images == 3


def test_pascal_voc_as_downloaded_is_converted_with_its_split(tmp_path):
    voc = tmp_path / "VOCdevkit/VOC2012"
    for number in range(8):
        name = f"2007_{number:06d}"
        write_image(voc / f"JPEGImages/{name}.jpg", color=(30 * number, 0, 0))
        write_xml(voc / f"Annotations/{name}.xml", voc_object(("cat", "dog")[number % 2]))
        write_image(voc / f"SegmentationClass/{name}.png")
        write_image(voc / f"SegmentationObject/{name}.png")
    write_xml(voc / "Annotations/2007_000007.xml", voc_object("sheep"))
    lists = voc / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000000\n2007_000001\n2007_000002\n")
    (lists / "val.txt").write_text("2007_000003\n2007_000004\n")
    (lists / "trainval.txt").write_text("2007_000000\n")
    (lists / "cat_train.txt").write_text("2007_000000  1\n2007_000001 -1\n")
    data = convert(voc, voc, tmp_path / "data", split_by=lists)
    assert {name: split.images for name, split in data.splits.items()} == {"train": 3, "val": 2}
    assert list(data.classes.values()) == ["cat", "dog"]  # 2007_000007 is in no list
    assert [(remark.kind, remark.count) for remark in data.remarks] == [("image unlisted", 3)]
    assert data.remarks[0].what == (
        "3 images are in none of the lists of --split-by and will not be used"
    )
    manifest = json.loads((data.folder / "dataset.json").read_text())
    assert manifest["images_without_annotation"] == 0
    assert manifest["split"] == {"train": 0.6, "val": 0.4}
    # Without the lists, all images are used.
    data = convert(voc, voc, tmp_path / "all", split=(0.5, 0.25, 0.25))
    assert sum(split.images for split in data.splits.values()) == 8

    (lists / "train.txt").write_text("other\n")
    (lists / "val.txt").unlink()
    with pytest.raises(UserError, match="lists none of the images"):
        convert(voc, voc, tmp_path / "none", split_by=lists)
