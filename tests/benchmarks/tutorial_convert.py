"""The converter from tutorials of the OD API, re-implemented from their descriptions.

It reads every XML with ElementTree into one pandas table and groups the table by file name. One
process then reads each image and writes it unchanged to a TFRecord file. Nothing is checked.

  python tutorial_convert.py VOC_FOLDER OUTPUT
"""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import tensorflow as tf
from PIL import Image

COLUMNS = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]


def read_table(annotations: Path) -> pd.DataFrame:
    rows = []
    for path in annotations.glob("*.xml"):
        root = ET.parse(path).getroot()
        size = root.find("size")
        for item in root.findall("object"):
            box = item.find("bndbox")
            rows.append(
                (
                    root.find("filename").text,
                    int(size.find("width").text),
                    int(size.find("height").text),
                    item.find("name").text,
                    *(int(box.find(edge).text) for edge in COLUMNS[4:]),
                )
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def ints(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def floats(values) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def blobs(values) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def make_example(name: str, group: pd.DataFrame, images: Path, ids: dict) -> tf.train.Example:
    with tf.io.gfile.GFile(str(images / name), "rb") as file:
        data = file.read()
    width, height = Image.open(io.BytesIO(data)).size
    columns = {edge: [] for edge in COLUMNS[4:]}
    texts, labels = [], []
    for _, row in group.iterrows():
        for edge, length in (("xmin", width), ("xmax", width), ("ymin", height), ("ymax", height)):
            columns[edge].append(row[edge] / length)
        texts.append(row["class"].encode())
        labels.append(ids[row["class"]])
    features = {
        "image/height": ints([height]),
        "image/width": ints([width]),
        "image/filename": blobs([name.encode()]),
        "image/source_id": blobs([name.encode()]),
        "image/encoded": blobs([data]),
        "image/format": blobs([b"jpg"]),
        **{f"image/object/bbox/{edge}": floats(values) for edge, values in columns.items()},
        "image/object/class/text": blobs(texts),
        "image/object/class/label": ints(labels),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def main() -> None:
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir()
    read_table(folder / "annotations").to_csv(output / "labels.csv", index=False)
    table = pd.read_csv(output / "labels.csv")
    ids = {name: number for number, name in enumerate(sorted(table["class"].unique()), 1)}
    with tf.io.TFRecordWriter(str(output / "train.record")) as writer:
        groups = table.groupby("filename")
        # Keeps the groups of all images in memory, like the `split` function of the tutorials.
        images = [(name, groups.get_group(name)) for name in groups.groups]
        for name, group in images:
            example = make_example(name, group, folder / "images", ids)
            writer.write(example.SerializeToString())


if __name__ == "__main__":
    main()
