"""Tests `coco`, `yolo`, `csv_table` and `formats`: boxes, images and faults."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers.limits import scaled
from helpers.table_files import HEADER, coco
from helpers.voc_files import voc_object, write_image, write_xml
from tfod.annotation import Box
from tfod.conversion.annotation_folder import read_folder
from tfod.errors import BadFilesError, UserError


@pytest.fixture
def boxes(tmp_path):
    """A function that reads tmp_path/NAME and returns the boxes of each image."""

    def boxes(name: str = "notes") -> dict[str, tuple[Box, ...]]:
        folder = read_folder(tmp_path / name, tmp_path / "images")
        return {annotation.source_id: annotation.objects for annotation in folder.annotations}

    for name in ("a.jpg", "deep/b.jpg", "c.jpg"):
        write_image(tmp_path / "images" / name)
    (tmp_path / "notes").mkdir()
    return boxes


@pytest.fixture
def faults(boxes):
    """A function that returns the error messages of tmp_path/NAME."""

    def faults(name: str = "notes") -> list[str]:
        with pytest.raises(UserError) as caught:
            boxes(name)
        error = caught.value
        return [str(fault) for fault in getattr(error, "errors", [error])]

    return faults


def test_coco_is_read(tmp_path, boxes):
    coco(tmp_path / "notes/instances.json")
    expected = {
        "a.jpg": (Box("stop", 1, 2, 11, 12.5), Box("cross walk", 3, 4, 8, 10, occluded=True)),
        "deep/b.jpg": (Box("cross walk", 0, 0, 40, 30, crowd=True),),
        "c.jpg": (),
    }
    assert boxes() == expected
    assert boxes("notes/instances.json") == expected


def test_coco_ids_may_be_numbers_or_text(tmp_path, boxes):
    annotation = {"id": 1, "image_id": "1", "category_id": "5", "bbox": [1, 2, 10, 10.5]}
    coco(tmp_path / "notes/instances.json", annotations=[annotation])
    assert boxes()["a.jpg"] == (Box("stop", 1, 2, 11, 12.5),)


def test_coco_category_may_be_repeated(tmp_path, boxes):
    categories = [{"id": 5, "name": "stop"}, {"id": 5, "name": " stop"}, {"id": 9, "name": "tram"}]
    coco(tmp_path / "notes/instances.json", categories=categories)
    assert [box.name for box in boxes()["a.jpg"]] == ["stop", "tram"]


def test_coco_file_in_a_subfolder_belongs_to_the_images_of_that_subfolder(tmp_path, boxes):
    for part in ("train", "valid"):
        write_image(tmp_path / f"images/{part}/same.jpg")
        write_image(tmp_path / f"notes/{part}/unused.jpg")
        image = {"id": 0, "file_name": "same.jpg"}
        annotation = {"id": 0, "image_id": 0, "category_id": 5, "bbox": [1, 2, len(part), 4]}
        path = tmp_path / f"notes/{part}/_annotations.coco.json"
        coco(path, images=[image], annotations=[annotation])
    boxes_by_image = boxes()
    assert boxes_by_image["train/same.jpg"] == (Box("stop", 1, 2, 6, 6),)
    assert boxes_by_image["valid/same.jpg"] == (Box("stop", 1, 2, 6, 6),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 3}, "has no list 'images'. Export as COCO JSON"),
        ({"categories": ["stop"]}, "has no list 'categories'"),
        ({"annotations": [{"image_id": 8}]}, "1 annotation has an image_id that is not in "),
        ({"images": [{"id": 1}, {"id": 2, "file_name": "b.jpg"}]}, "'': image 1 has no file_name"),
        ({"images": [{"id": "\x1b\n"}], "annotations": []},
         "'': image '\\x1b\\n' has no file_name"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "c.jpg"}]},
         "has 2 images with the id '1'. Give each image its own id."),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]},
         "/images/a.jpg twice. Remove one of the two."),
        ({"categories": [{"id": 5, "name": "stop"}, {"id": 5, "name": "tram"}]},
         "has 2 categories with the id '5'. Give each category its own id."),
        ({"categories": [{"id": 5, "name": "stop"}]},
         "'a.jpg': annotation 3 has the category '9', which has no name. Add it to the"),
        ({"categories": [{"id": [], "name": "stop"}]},
         "'a.jpg': annotation 1 has the category '5', which has no name."),
        ({"annotations": [{"id": "\x1b\n", "image_id": 1, "category_id": 5}]},
         "the bbox of annotation '\\x1b\\n' 'stop' is 'None'"),
        ({"annotations": [{"id": 7, "image_id": 1, "category_id": {}}]},
         "'a.jpg': annotation 7 has the category '{}', which has no name."),
        ({"images": [{"id": n, "file_name": "x.jpg"} for n in (1, 2)]}, "no image 'x.jpg' in "),
        ({"images": [{"id": 1, "file_name": "a.jpg", "width": 41, "height": 30},
                     {"id": 2, "file_name": "b.jpg"}]},
         "'a.jpg': the annotated size is 41 x 30, but the image is 40 x 30."),
        ({"images": [{"id": 1, "file_name": "a.jpg", "width": "wide"},
                     {"id": 2, "file_name": "b.jpg"}]}, "'a.jpg': its size is 'wide' x 'None'"),
        *(
            ({"annotations": [{"id": 7, "image_id": 1, "category_id": 5, "bbox": bbox}]}, message)
            for bbox, message in (
                ([1, 2, 3], "'a.jpg': the bbox of annotation 7 'stop' is '[1, 2, 3]'. Write it"),
                ([1, 2, 3, float("nan")], "the bbox of annotation 7 'stop' is '[1, 2, 3, nan]'"),
                ([1, 2, "3", 4], "the bbox of annotation 7 'stop' is"),
                ([1, 2, 3, 10**400], "the bbox of annotation 7 'stop' is '[1, 2, 3, 1000"),
                (None, "the bbox of annotation 7 'stop' is 'None'"),
                ([1, 2, -3, 4], "'a.jpg': annotation 7 'stop' extends from x 1 to -2"),
                ([1, 2, 30, 90], "'a.jpg': annotation 7 'stop' at 1, 2, 31, 92 extends outside"),
            )
        ),
    ],
)  # fmt: skip
def test_coco_fault_is_reported(tmp_path, faults, changes, message):
    path = coco(tmp_path / "notes/a.json", **changes)
    assert any(fault.startswith(f"{path}: ") and message in fault for fault in faults())


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b'{"images": [', b"\xff\xfe\x00", b"[1]"])
def test_json_that_is_not_coco_is_refused(tmp_path, faults, data):
    path = tmp_path / "notes/a.json"
    path.write_bytes(data)
    (fault,) = faults()
    assert fault.startswith(f"{path}: ")
    assert fault.endswith("Export as COCO JSON for object detection.")


def yolo(folder: Path, name: str = "a", text: str = "1 0.5 0.5 0.5 0.2\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "nc: 2\nnames: [cross walk, stop]\n"),
        ("data.yml", "names:\n  0: cross walk\n  1: stop\n"),
        ("notes/classes.txt", "cross walk\nstop\n"),
        ("notes/obj.names", "cross walk\r\nstop"),
    ],
)
def test_yolo_is_read(tmp_path, boxes, name, text):
    (tmp_path / name).write_text(text)
    yolo(tmp_path / "notes", text="1 0.5 0.5 0.5 0.2\n\n0 0.1 0.2 0.3 0.2 0.3 0.6\n")
    yolo(tmp_path / "notes", "c", "")
    yolo(tmp_path / "notes", "README.dataset", "made by hand")
    assert boxes() == {
        "a.jpg": (
            Box("stop", 10, 12, 30, 18),
            Box("cross walk", 0.1 * 40, 0.2 * 30, 0.3 * 40, 0.6 * 30),
        ),
        "c.jpg": (),
    }


def test_rounding_errors_at_the_edge_are_clipped_without_a_remark(tmp_path, boxes):
    (tmp_path / "data.yaml").write_text("names: [stop]")
    yolo(tmp_path / "notes", text="0 0.833334 0.5 0.333334 1.000001")
    (box,) = boxes()["a.jpg"]
    assert (box.ymin, box.xmax, box.ymax) == (0, 40, 30)
    assert read_folder(tmp_path / "notes", tmp_path / "images").annotations[0].fixes == ()


def test_yolo_labels_folder_matches_images_folder(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [stop]")
    for part in ("train", "val"):
        write_image(tmp_path / f"set/images/{part}/1.jpg")
        yolo(tmp_path / f"set/labels/{part}", "1", "0 0.5 0.5 0.5 0.5")
    for folder in (tmp_path / "set", tmp_path / "set/labels"):
        annotations = read_folder(folder, tmp_path / "set").annotations
        assert [(a.source.parent.name, a.image.parent.name) for a in annotations] == [
            ("train", "train"),
            ("val", "val"),
        ]


def test_yolo_labels_without_subfolders_belong_to_the_images_folder(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [stop]")
    for folder in ("copies", "images"):
        write_image(tmp_path / f"set/{folder}/1.jpg")
    yolo(tmp_path / "labels", "1", "0 0.5 0.5 0.5 0.5")
    (annotation,) = read_folder(tmp_path / "labels", tmp_path / "set").annotations
    assert annotation.source_id == "images/1.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "2 0.5 0.5 0.1 0.1",
            "line 1 has the class '2', which has no name. Use the numbers 0 to 1",
        ),
        ("0.5 0.5 0.5 0.1 0.1", "line 1 has the class '0.5'"),
        ("stop 0.5 0.5 0.1 0.1", "line 1 has the class 'stop'"),
        ("0 0.5 0.5 0.1", "line 1 has 4 values. Write class, x, y, width, height"),
        ("0 0.5 0.5 0.1 0.1 0.99", "line 1 has 6 values"),
        ("\n0 0.5 0.5 inf 0.1", "line 2 is '0 0.5 0.5 inf 0.1'. Draw the box again"),
        ("0 0.5 0.5 0 0.1", "line 1 'cross walk' extends from x 0.5 to 0.5"),
        ("0 20 15 10 10", "line 1 'cross walk' at 600, 300, 1000, 600 extends outside the image"),
        ("0 " * (3 << 20), "is larger than 4 MiB"),
    ],
)
def test_yolo_fault_is_reported(tmp_path, faults, text, message):
    (tmp_path / "notes/classes.txt").write_text("cross walk\nstop\n")
    path = yolo(tmp_path / "notes", text=text)
    (fault,) = faults()
    assert fault.startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "notes: contains YOLO labels but no class names. Put data.yaml"),
        ({"notes/x.yaml": "[", }, "x.yaml: cannot be read: "),
        ({"notes/x.yaml": "names: [a]", "notes/y.yaml": "names: [b]"}, "has x.yaml and y.yaml, wh"),
        ({"notes/x.yaml": "names: {a: b}"}, "x.yaml: has a class without a number or a name"),
        ({"notes/x.yaml": "!!python/object/apply:os.system [id]"}, "but no class names. Put data"),
        ({"notes/x.yaml": "[" * 100_000}, "x.yaml: cannot be read: "),
        ({"notes/classes.txt": "a\n\nb"}, "classes.txt: has a class without a number or a name"),
        ({"data.yaml": "names: stop"}, "data.yaml: its 'names' is 'stop', not a list"),
        ({"data.yaml": "names: 2"}, "data.yaml: its 'names' is '2', not a list"),
        ({"data.yaml": "names: []"}, "data.yaml: its 'names' is empty"),
        ({"data.yaml": "names: {0: a, 00: b}"}, "has a class without a number or a name"),
        ({"data.yaml": "names: [[a, b]]"}, "has a class without a number or a name"),
        ({"data.yaml": "names: [&b {? [a] : c}, *b]"}, "has a class without a number or a name"),
        ({"data.yaml": "names:\n  ? " + "9" * 5000 + "\n  : a"}, "without a number or a name"),
        ({"data.yaml": "a: &a [*a]\nnames: *a"}, "has a class without a number or a name"),
        ({"data.yaml": "names: [a]\nkpt_shape: 17"}, "its 'kpt_shape' is not a number of keypoi"),
        ({"data.yaml": "names: [a]\nkpt_shape: [17, 4]"}, "its 'kpt_shape' is not a number of"),
        ({"data.yaml": "x" * (2 << 20)}, "data.yaml: is too large for class names"),
    ],
)  # fmt: skip
def test_invalid_class_names_are_reported(tmp_path, faults, files, message):
    yolo(tmp_path / "notes", text="0 0.5 0.5 0.1 0.1")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (fault,) = faults()
    assert message in fault


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[off, on]", ["off", "on"]),  # YAML 1.1 reads these as other values
        ("[030, 0x1F, 1_000, 1:30]", ["030", "0x1F", "1_000", "1:30"]),
        ("[2020-01-01, 1.50, ~, null, .inf]", ["2020-01-01", "1.50", "~", "null", ".inf"]),
        ("['no', \"y\", 'a  b']", ["no", "y", "a b"]),
        ("{0: off, 1: 1e3}", ["off", "1e3"]),
        ("{'0': a, 01: b}", ["a", "b"]),
        ("\n  - &n off\n  - b\n  - [*n]", None),
        ("&n\n  - off\nother: *n", ["off"]),
    ],
)
def test_yolo_name_is_the_text_that_was_written(tmp_path, boxes, faults, text, names):
    (tmp_path / "data.yaml").write_text(f"names: {text}")
    lines = [f"{number} 0.5 0.5 0.{number + 1} 0.2" for number in range(len(names or "?"))]
    yolo(tmp_path / "notes", text="\n".join(lines))
    if names is None:
        assert "has a class without a number or a name" in faults()[0]
    else:
        assert [box.name for box in boxes()["a.jpg"]] == names


@pytest.mark.parametrize("line", ["names: *l20", "names: [*l20, *l20]", "x: *l20\nnames: [a]"])
def test_yaml_alias_bomb_takes_no_time_and_memory(tmp_path, line):
    lists = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 21)]
    (tmp_path / "data.yaml").write_text("\n".join(["l0: &l0 [lol]", *lists, line]))
    yolo(tmp_path / "labels", text="0 0.5 0.5 0.1 0.1")
    write_image(tmp_path / "images/a.jpg")
    started = time.process_time()
    try:
        assert read_folder(tmp_path / "labels", tmp_path / "images").annotations
    except UserError as error:
        assert "has a class without a number or a name" in str(error)
    assert time.process_time() - started < scaled(1)


@pytest.mark.parametrize("shape", ["[2, 3]", "[3, 2]"])
def test_box_of_a_pose_label_is_read(tmp_path, boxes, shape):
    (tmp_path / "data.yaml").write_text(f"kpt_shape: {shape}\nnames: [stop]")
    points = "0.1 0.2 2 0.9 0.8 1"
    yolo(tmp_path / "notes", text=f"0 0.5 0.5 0.5 0.2 {points}\n0 0.5 0.5 0.25 0.2\n")
    assert boxes()["a.jpg"] == (Box("stop", 10, 12, 30, 18), Box("stop", 15, 12, 25, 18))


@pytest.mark.parametrize("points", ["0.1 0.2", "0.1 0.2 2 0.9 0.8 1 0.3 0.4"])
def test_pose_label_with_another_number_of_keypoints_is_reported(tmp_path, faults, points):
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 3]\nnames: [stop]")
    yolo(tmp_path / "notes", text=f"0 0.5 0.5 0.5 0.2 {points}")
    assert faults()[0].endswith(
        f"line 1 has {5 + len(points.split())} values. "
        "Write class, x, y, width, height and 6 values of keypoints."
    )


def test_csv_is_read(tmp_path, boxes):
    rows = "a.jpg,40,30,stop,1,2,11,12.5\nc.jpg,,,,,,,\ndeep\\b.jpg,40,30,tram,0,0,40,30\n"
    path = tmp_path / "notes/labels.csv"
    path.write_text(HEADER + rows + "a.jpg,40,30,tram,3,4,8,10\n", encoding="utf-8-sig")
    expected = {
        "a.jpg": (Box("stop", 1, 2, 11, 12.5), Box("tram", 3, 4, 8, 10)),
        "c.jpg": (),
        "deep/b.jpg": (Box("tram", 0, 0, 40, 30),),
    }
    assert boxes() == expected
    assert boxes("notes/labels.csv") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,class\na.jpg,stop\n", "has no column width, height, xmin, ymin, xmax, ymax. Gi"),
        (HEADER + "a.jpg,40,30,stop,1,x,11,12\n", "line 2: the box is '1, x, 11, 12'. Draw it"),
        (HEADER + "a.jpg,40,30,,1,2,11,12\n", "line 2: has no class. Write the class"),
        (HEADER + ",40,30,stop,1,2,11,12\n", "line 2: has no filename. Write the file name"),
        (HEADER + "a.jpg,40\n", None),
        (HEADER + "a.jpg,40,30,stop,1,2\n", "line 2: the box is '1, 2, , '"),
        (HEADER + "a.jpg,4 0,30,stop,1,2,11,12\n", "line 2: its size is '4 0' x '30'"),
        (HEADER + "a.jpg,40,30,stop,1,2,11,12\na.jpg,30,40,stop,1,2,11,12\n",
         "'a.jpg': its size is 30 x 40 and 40 x 30. Keep the correct one"),
        (HEADER + "a.jpg,40,30,stop,1,2,51,12\n", "'a.jpg': line 2 'stop' at 1, 2, 51, 12 ex"),
        (HEADER + "x.jpg,40,30,stop,1,2,11,12\n", "no image 'x.jpg' in "),
        (HEADER + "a.jpg,40,30,stop,1,2,11,12,5\n", "line 2: has more values than columns: '5'"),
    ],
)  # fmt: skip
def test_csv_fault_is_reported(tmp_path, boxes, faults, text, message):
    path = tmp_path / "notes/a.csv"
    path.write_text(text)
    if message is None:
        assert boxes() == {"a.jpg": ()}
    else:
        assert any(fault.startswith(f"{path}: ") and message in fault for fault in faults())


def test_csv_in_a_subfolder_belongs_to_the_images_of_that_subfolder(tmp_path, boxes):
    for part in ("train", "valid"):
        write_image(tmp_path / f"images/{part}/same.jpg")
        (tmp_path / f"notes/{part}").mkdir()
        row = f"same.jpg,40,30,stop,1,2,{len(part)},12\n"
        (tmp_path / f"notes/{part}/_annotations.csv").write_text(HEADER + row)
    assert boxes() == {
        "train/same.jpg": (Box("stop", 1, 2, 5, 12),),
        "valid/same.jpg": (Box("stop", 1, 2, 5, 12),),
    }


def test_our_data_set_is_read_from_its_csv_and_not_from_its_json(tmp_path, boxes, faults):
    (tmp_path / "notes/annotations.csv").write_text(HEADER + "a.jpg,40,30,stop,1,2,11,12\n")
    manifest = tmp_path / "notes/dataset.json"
    manifest.write_text('{"version": 1, "splits": {}}')
    assert boxes() == {"a.jpg": (Box("stop", 1, 2, 11, 12),)}
    coco(manifest)  # a COCO file of this name
    assert len(boxes()) == 3
    manifest.write_text("{")
    assert "dataset.json: is not JSON" in faults()[0]


def test_table_without_images_is_reported(tmp_path, faults):
    coco(tmp_path / "notes/a.json", images=[], annotations=[])
    (tmp_path / "a.csv").write_text(HEADER)
    for name in ("notes", "a.csv"):
        assert faults(name) == [
            f"{tmp_path}/{name}: lists no images. Give annotations with at least one image."
        ]


def test_xml_takes_precedence_and_an_empty_folder_is_reported(tmp_path, boxes, faults):
    assert faults() == [
        f"{tmp_path}/notes: contains no annotations. "
        "Give a folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file."
    ]
    (tmp_path / "notes/a.json").write_text("{}")
    write_xml(tmp_path / "notes/c.xml", voc_object())
    assert boxes() == {"c.jpg": (Box("stop", 1, 2, 11, 12),)}


def test_skip_bad_leaves_out_single_images_of_a_table(tmp_path, boxes):
    coco(tmp_path / "notes/a.json")
    (tmp_path / "images/a.jpg").write_bytes(b"")
    with pytest.raises(BadFilesError):
        boxes()
    folder = read_folder(tmp_path / "notes", tmp_path / "images", skip_bad=True)
    assert [annotation.source_id for annotation in folder.annotations] == ["deep/b.jpg", "c.jpg"]
    assert [fault.kind for fault in folder.skipped] == ["image unreadable"]
    assert folder.unannotated == 0
