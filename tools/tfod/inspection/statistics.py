"""Computes statistics of a data set, and warns about problems before training.

Records are decoded with the OD API's decoder, so the statistics describe the data that training
reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tfod.dataset.label_map import LABEL_MAP, read_label_map
from tfod.dataset.manifest import MANIFEST, load_dataset
from tfod.dataset.tfrecord import RECORD_FILE, read_file
from tfod.detection.detections import Detections
from tfod.errors import UserError
from tfod.model import anchors
from tfod.model.pipeline import max_detections
from tfod.progress import Progress, silent, tracked

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

FEW_IMAGES = 200  # per class; with fewer, a detector is rarely useful
IMBALANCE = 10  # ratio of the object counts of the most and least frequent class
SMALL_BOX = 8  # pixels of the model's input: the stride of the FPN models' finest feature map

MAX_EXAMPLES, EXAMPLES_PER_CLASS = 24, 4


@dataclass(frozen=True)
class RecordFiles:
    """TFRecord files and their label map.

    Attributes:
      splits: files by name of the split.
      label_map: the label map file.
      classes: class names by id.
      image_count: number of images; None if no manifest states it.
    """

    splits: Mapping[str, tuple[Path, ...]]
    label_map: Path
    classes: Mapping[int, str]
    image_count: int | None


@dataclass(frozen=True)
class Example:
    """An image with its ground truth.

    Attributes:
      pixels: uint8 `[H, W, 3]` RGB.
      objects: the ground truth, with scores of 1.
    """

    pixels: np.ndarray
    objects: Detections


@dataclass(frozen=True)
class Inspection:
    """The images and boxes of a data set as tables.

    Attributes:
      images: one row per image: split, source_id, height, width (pixels), objects (their number).
      boxes: one row per box: split, image (row number in `images`), class, ymin, xmin, ymax, xmax
        (normalized to [0, 1]).
      classes: class names in the order of their ids.
      examples: some images, with every class unless there are too many.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    classes: tuple[str, ...]
    examples: tuple[Example, ...]


def find_records(folder: Path, label_map: Path | None = None) -> RecordFiles:
    """Finds the TFRecord files of a data set, written by `tfod convert` or another program.

    In a folder without `dataset.json`, a file such as `train.record` or
    `val.tfrecord-00000-of-00002` belongs to the split that its name starts with.

    Args:
      label_map: None for the only `.pbtxt` file in the folder. Ignored if there is a
        `dataset.json`.

    Raises:
      UserError: there are no records, or there is not exactly one label map.
    """
    if (folder / MANIFEST).is_file():
        data = load_dataset(folder)
        shards = {name: split.shards for name, split in data.splits.items()}
        image_count = sum(split.images for split in data.splits.values())
        return RecordFiles(shards, folder / LABEL_MAP, data.classes, image_count)
    if not folder.is_dir():
        raise UserError(folder, "is not a folder", "Give a folder with TFRecord files")
    files = sorted(path for path in folder.iterdir() if RECORD_FILE.search(path.name))
    if not files:
        raise UserError(
            folder, "contains no TFRecord files", "Give a folder with .tfrecord or .record files"
        )
    if label_map is None:
        label_maps = sorted(folder.glob("*.pbtxt"))
        if len(label_maps) != 1:
            what = f"contains {len(label_maps)} label maps (.pbtxt)"
            raise UserError(folder, what, "Choose one with --label-map")
        (label_map,) = label_maps
    splits: dict[str, tuple[Path, ...]] = {}
    for path in files:
        name = re.split(r"[-_.\d]", path.name)[0] or "all"
        splits[name] = (*splits.get(name, ()), path)
    return RecordFiles(splits, label_map, read_label_map(label_map), None)


def decode(records: RecordFiles) -> Iterator[tuple[str, dict[str, np.ndarray | bytes]]]:
    """Decodes the records in file order.

    Source: `object_detection.data_decoders.tf_example_decoder.TfExampleDecoder`.

    Yields:
      The name of the split, and the decoded record: `image` uint8 `[H, W, 3]`, `groundtruth_boxes`
      float32 `[N, 4]` (ymin, xmin, ymax, xmax, normalized), `groundtruth_classes` int64 `[N]`,
      `source_id` bytes and others.

    Raises:
      UserError: a file is damaged, or a record is not a `tf.train.Example` of the OD API.
    """
    import tensorflow as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    decoder = TfExampleDecoder(label_map_proto_file=str(records.label_map))
    decode_record = tf.function(decoder.decode, input_signature=[tf.TensorSpec([], tf.string)])
    for split, paths in records.splits.items():
        for path in paths:
            for number, data in enumerate(read_file(path), 1):
                try:
                    decoded = decode_record(tf.constant(data))
                except tf.errors.OpError as error:
                    reason = str(error.message).splitlines()[0]
                    what = f"record {number} cannot be decoded: {reason}"
                    raise UserError(path, what, "Convert the data set again") from error
                yield split, {name: value.numpy() for name, value in decoded.items()}


def inspect(records: RecordFiles, progress: Progress = silent) -> Inspection:
    """Reads all records.

    Args:
      progress: called as `progress("images", done, total)`.

    Raises:
      UserError: the records contain no box, or cannot be decoded, see `decode`.
    """
    images: list[tuple[str, str, int, int, int]] = []
    boxes: list[tuple[object, ...]] = []
    examples: list[Example] = []
    examples_with: Counter[str] = Counter()  # number of examples by class
    for split, record in tracked(decode(records), progress, "images", records.image_count):
        pixels, image_boxes = record["image"], record["groundtruth_boxes"]
        ids, source_id = record["groundtruth_classes"], record["source_id"]
        assert isinstance(pixels, np.ndarray) and isinstance(image_boxes, np.ndarray)
        assert isinstance(ids, np.ndarray) and isinstance(source_id, bytes)
        height, width = pixels.shape[:2]
        names = tuple(records.classes.get(int(class_id), f"id {class_id}") for class_id in ids)
        boxes += [
            (split, len(images), name, *box)
            for name, box in zip(names, image_boxes.tolist(), strict=True)
        ]
        source = source_id.decode(errors="replace")
        images.append((split, source, height, width, len(image_boxes)))
        if len(examples) < MAX_EXAMPLES and any(
            examples_with[name] < EXAMPLES_PER_CLASS for name in names
        ):
            examples_with.update(set(names))
            scores = np.ones(len(image_boxes), np.float32)
            examples.append(Example(pixels, Detections(image_boxes, scores, ids, names)))
    if not boxes:
        raise UserError(
            records.label_map.parent, "contains no boxes", "Convert annotations with boxes"
        )
    return Inspection(
        pd.DataFrame(images, columns=["split", "source_id", "height", "width", "objects"]),
        pd.DataFrame(boxes, columns=["split", "image", "class", "ymin", "xmin", "ymax", "xmax"]),
        tuple(records.classes.values()),
        tuple(examples),
    )


def class_counts(inspection: Inspection) -> pd.DataFrame:
    """Counts the objects, and the images with such objects, per class and split.

    Returns:
      One row per class; columns such as ("train", "objects") and ("train", "images").
    """
    groups = inspection.boxes.groupby(["class", "split"])
    counts = pd.DataFrame({"objects": groups.size(), "images": groups["image"].nunique()})
    table = counts.unstack("split", fill_value=0).swaplevel(axis=1)
    names = [*inspection.classes, *sorted(set(table.index) - set(inspection.classes))]
    splits = list(dict.fromkeys(inspection.images["split"]))
    columns = [(split, kind) for split in splits for kind in ("objects", "images")]
    return table.reindex(index=names, columns=columns, fill_value=0).astype(int)


def size_table(inspection: Inspection) -> pd.DataFrame:
    """Computes percentiles of box and image sizes, in pixels of the original images."""
    sizes = _image_sizes(inspection)
    height = (inspection.boxes["ymax"] - inspection.boxes["ymin"]).to_numpy() * sizes[:, 0]
    width = (inspection.boxes["xmax"] - inspection.boxes["xmin"]).to_numpy() * sizes[:, 1]
    rows = {
        "box width": width,
        "box height": height,
        "box aspect (width / height)": width / np.maximum(height, 1e-6),
        "box area, % of the image": 100 * width * height / sizes.prod(axis=1),
        "objects per image": inspection.images["objects"].to_numpy(),
        "image width": inspection.images["width"].to_numpy(),
        "image height": inspection.images["height"].to_numpy(),
    }
    percentiles = {"min": 0, "5 %": 5, "median": 50, "95 %": 95, "max": 100}
    return pd.DataFrame(
        {
            name: [np.percentile(values, percentile) for values in rows.values()]
            for name, percentile in percentiles.items()
        },
        index=list(rows),
    )


def input_boxes(inspection: Inspection, pipeline: TrainEvalPipelineConfig) -> np.ndarray:
    """Returns all boxes: float32 `[N, 4]` ymin, xmin, ymax, xmax in pixels of the model's input."""
    corners = inspection.boxes[["ymin", "xmin", "ymax", "xmax"]].to_numpy()
    return anchors.normalized_to_input_pixels(pipeline, corners, _image_sizes(inspection))


def _image_sizes(inspection: Inspection) -> np.ndarray:
    """Returns `[N, 2]`: height and width in pixels of the image of each box."""
    return inspection.images.loc[inspection.boxes["image"], ["height", "width"]].to_numpy()


def warnings(inspection: Inspection, pipeline: TrainEvalPipelineConfig | None = None) -> list[str]:
    """Returns problems that limit the accuracy of a detector, one sentence each.

    Args:
      pipeline: also compares the data set with this model. None to check the data set alone.
    """
    sentences = []
    counts = class_counts(inspection)
    first_split = counts.columns[0][0]
    training = counts["train" if "train" in counts else first_split]
    rare = training[training["images"] < FEW_IMAGES]["images"]
    if len(rare):
        names = ", ".join(f"{name} ({count})" for name, count in rare.items())
        sentences.append(
            f"fewer than {FEW_IMAGES} training images of: {names}; annotate more, and expect lower "
            "accuracy for these classes"
        )
    objects = training["objects"]
    if objects.min() * IMBALANCE < objects.max():
        sentences.append(
            f"{objects.idxmax()} has {objects.max()} objects and {objects.idxmin()} has "
            f"{objects.min()}: the detector will favor the frequent class"
        )
    unknown = [name for name in counts.index if name not in inspection.classes]
    if unknown:
        sentences.append(f"the label map has no entry for {', '.join(unknown)}")
    if pipeline is not None:
        boxes = input_boxes(inspection, pipeline)
        small = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) < SMALL_BOX
        if small.any():
            height, width = anchors.input_size(pipeline)
            sentences.append(
                f"{small.sum()} of {len(small)} boxes are less than {SMALL_BOX} pixels wide or "
                f"high in the model's input of {width} x {height}: use a larger template, or crop "
                "the images"
            )
        most_objects = int(inspection.images["objects"].max())
        limit = max_detections(pipeline)
        if most_objects > limit:
            sentences.append(
                f"an image contains {most_objects} objects, but the model returns at most {limit}"
            )
    return sentences


def anchor_table(inspection: Inspection, pipeline: TrainEvalPipelineConfig) -> pd.DataFrame:
    """Compares the fit of the template's anchors with the fit of `anchors.suggest_anchors`.

    Returns:
      One row for the template, and one for the suggestion if it matches at least one percentage
      point more boxes.
    """
    boxes = anchors.sample_boxes(input_boxes(inspection, pipeline))
    template_fit = anchors.measure_fit(anchors.generate_anchors(pipeline), boxes)
    suggested, suggested_fit = anchors.suggest_anchors(pipeline, boxes)
    rows = {"template": (template_fit, pipeline)}
    if suggested_fit.recall >= template_fit.recall + 0.01:
        rows["suggested"] = (suggested_fit, suggested)
    return pd.DataFrame(
        {
            name: {
                "boxes with an anchor of IoU >= 0.5": f"{fit.recall:.1%}",
                "mean IoU of a box and its best anchor": f"{fit.mean_iou:.3f}",
                **anchors.describe_anchors(config),
            }
            for name, (fit, config) in rows.items()
        }
    ).T
