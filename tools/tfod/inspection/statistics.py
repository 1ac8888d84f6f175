"""What is in a data set: counts, sizes, and what a person should know before training.

Records are decoded by the OD API's own decoder, so what is seen here is what training sees.
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
from tfod.detection.detections import Detections
from tfod.errors import UserError
from tfod.model import anchors
from tfod.model.pipeline import architecture
from tfod.progress import Progress, silent, tracked

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

RECORD_FILE = re.compile(r"\.(tf)?records?(-\d+-of-\d+)?$")
ENOUGH_PICTURES = 200  # of a class, to train a detector that is of use
IMBALANCE = 10  # times as many objects of the most frequent class as of the rarest
SMALL = 8  # pixels of the model's input: the stride of the finest feature map of the FPN models

MOST_SHOWN, SHOWN_A_CLASS = 24, 4


@dataclass(frozen=True)
class Records:
    """TFRecord files and their label map.

    Attributes:
      splits: files by name of the split.
      classes: class names by id.
      pictures: how many there are; None where nobody wrote it down.
    """

    splits: Mapping[str, tuple[Path, ...]]
    label_map: Path
    classes: Mapping[int, str]
    pictures: int | None


@dataclass(frozen=True)
class ShownImage:
    """A picture, uint8 `[height, width, 3]` RGB, and its ground truth with scores of 1."""

    pixels: np.ndarray
    objects: Detections


@dataclass(frozen=True)
class Inspection:
    """Tables of a data set.

    Attributes:
      pictures: one row a picture: split, source_id, height, width (pixels), objects.
      boxes: one row a box: split, picture (row of `pictures`), class, ymin, xmin, ymax, xmax
        (normalized to [0, 1]).
      classes: class names in the order of their ids.
      examples: some pictures, of every class if there are not too many.
    """

    pictures: pd.DataFrame
    boxes: pd.DataFrame
    classes: tuple[str, ...]
    examples: tuple[ShownImage, ...]


def find_records(folder: Path, label_map: Path | None = None) -> Records:
    """The records of a data set that `tfod convert` wrote, or of anyone's.

    Of a folder without our manifest, each file, such as `train.record` or
    `val.tfrecord-00000-of-00002`, belongs to the split that its name begins with.

    Args:
      label_map: None for the only `.pbtxt` file of the folder.

    Raises:
      UserError: there are no records, or no label map, or more than one.
    """
    if (folder / MANIFEST).is_file():
        data = load_dataset(folder)
        splits = {name: split.shards for name, split in data.splits.items()}
        pictures = sum(split.images for split in data.splits.values())
        return Records(splits, folder / LABEL_MAP, data.classes, pictures)
    if not folder.is_dir():
        raise UserError(folder, "is no folder", "Name a folder with TFRecord files")
    files = sorted(path for path in folder.iterdir() if RECORD_FILE.search(path.name))
    if not files:
        raise UserError(folder, "holds no TFRecord file", "Name a folder with .tfrecord files")
    if label_map is None:
        maps = sorted(folder.glob("*.pbtxt"))
        if len(maps) != 1:
            what = f"holds {len(maps)} label maps (.pbtxt)"
            raise UserError(folder, what, "Name one with --label-map")
        (label_map,) = maps
    splits: dict[str, tuple[Path, ...]] = {}
    for path in files:
        name = re.split(r"[-_.\d]", path.name)[0] or "all"
        splits[name] = (*splits.get(name, ()), path)
    return Records(splits, label_map, read_label_map(label_map), None)


def decode(records: Records) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(split, decoded record) of each picture, in file order.

    A decoded record holds what `TfExampleDecoder` gives: `image` uint8 `[height, width, 3]`,
    `groundtruth_boxes` float32 `[N, 4]` (ymin, xmin, ymax, xmax, normalized), `groundtruth_classes`
    int64 `[N]`, `source_id` and more.

    Raises:
      UserError: a file is damaged, or a record is none of an object detector.
    """
    import tensorflow as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    from tfod.dataset.tfrecord import read_file

    decoder = TfExampleDecoder(label_map_proto_file=str(records.label_map))
    decode_one = tf.function(decoder.decode, input_signature=[tf.TensorSpec([], tf.string)])
    for split, paths in records.splits.items():
        for path in paths:
            for number, data in enumerate(read_file(path), 1):
                try:
                    decoded = decode_one(tf.constant(data))
                except tf.errors.OpError as error:
                    reason = str(error.message).splitlines()[0]
                    what = f"record {number} does not decode: {reason}"
                    raise UserError(path, what, "Convert again") from error
                yield split, {name: value.numpy() for name, value in decoded.items()}


def inspect(records: Records, progress: Progress = silent) -> Inspection:
    """Reads all records.

    Raises:
      UserError: see `decode`; or there is no box.
    """
    pictures, boxes, examples = [], [], []
    shown: Counter[str] = Counter()
    for split, record in tracked(decode(records), progress, "images", records.pictures):
        height, width = record["image"].shape[:2]
        found, ids = record["groundtruth_boxes"], record["groundtruth_classes"]
        names = tuple(records.classes.get(int(class_id), f"id {class_id}") for class_id in ids)
        boxes += [
            (split, len(pictures), name, *box)
            for name, box in zip(names, found.tolist(), strict=True)
        ]
        source = record["source_id"].decode(errors="replace")
        pictures.append((split, source, height, width, len(found)))
        if len(examples) < MOST_SHOWN and any(shown[name] < SHOWN_A_CLASS for name in names):
            shown.update(set(names))
            objects = Detections(found, np.ones(len(found), np.float32), ids, names)
            examples.append(ShownImage(record["image"], objects))
    if not boxes:
        raise UserError(records.label_map.parent, "holds no box", "Convert annotations with boxes")
    return Inspection(
        pd.DataFrame(pictures, columns=["split", "source_id", "height", "width", "objects"]),
        pd.DataFrame(boxes, columns=["split", "picture", "class", "ymin", "xmin", "ymax", "xmax"]),
        tuple(records.classes.values()),
        tuple(examples),
    )


def class_counts(found: Inspection) -> pd.DataFrame:
    """Objects and pictures of each class in each split; columns such as ("train", "objects")."""
    groups = found.boxes.groupby(["class", "split"])
    counts = pd.DataFrame({"objects": groups.size(), "pictures": groups["picture"].nunique()})
    table = counts.unstack("split", fill_value=0).swaplevel(axis=1)
    names = [*found.classes, *sorted(set(table.index) - set(found.classes))]
    splits = list(dict.fromkeys(found.pictures["split"]))
    columns = [(split, kind) for split in splits for kind in ("objects", "pictures")]
    return table.reindex(index=names, columns=columns, fill_value=0).astype(int)


def size_table(found: Inspection) -> pd.DataFrame:
    """Quartiles over the boxes and pictures; sizes in pixels of the pictures as they are."""
    sizes = found.pictures.loc[found.boxes["picture"], ["height", "width"]].to_numpy()
    height = (found.boxes["ymax"] - found.boxes["ymin"]).to_numpy() * sizes[:, 0]
    width = (found.boxes["xmax"] - found.boxes["xmin"]).to_numpy() * sizes[:, 1]
    rows = {
        "box width": width,
        "box height": height,
        "box aspect (width / height)": width / np.maximum(height, 1e-6),
        "box share of the picture, %": 100 * width * height / sizes.prod(axis=1),
        "objects a picture": found.pictures["objects"].to_numpy(),
        "picture width": found.pictures["width"].to_numpy(),
        "picture height": found.pictures["height"].to_numpy(),
    }
    points = {"least": 0, "5 %": 5, "median": 50, "95 %": 95, "most": 100}
    return pd.DataFrame(
        {
            name: [np.percentile(values, at) for values in rows.values()]
            for name, at in points.items()
        },
        index=list(rows),
    )


def input_boxes(found: Inspection, pipeline: TrainEvalPipelineConfig) -> np.ndarray:
    """All boxes as the model sees them: float32 `[N, 4]`, pixels of its input."""
    sizes = found.pictures.loc[found.boxes["picture"], ["height", "width"]].to_numpy()
    corners = found.boxes[["ymin", "xmin", "ymax", "xmax"]].to_numpy()
    return anchors.to_input(pipeline, corners, sizes)


def warnings(found: Inspection, pipeline: TrainEvalPipelineConfig | None = None) -> list[str]:
    """What stands between this data set and a good detector, a sentence each."""
    said = []
    counts = class_counts(found)
    first = counts.columns[0][0]
    training = counts["train" if "train" in counts else first]
    few = training[training["pictures"] < ENOUGH_PICTURES]["pictures"]
    if len(few):
        names = ", ".join(f"{name} ({count})" for name, count in few.items())
        said.append(
            f"fewer than {ENOUGH_PICTURES} training pictures of: {names}; draw more, and expect "
            "these classes to be found last"
        )
    objects = training["objects"]
    if objects.min() * IMBALANCE < objects.max():
        said.append(
            f"{objects.idxmax()} has {objects.max()} objects and {objects.idxmin()} "
            f"{objects.min()}: the detector will prefer the one over the other"
        )
    unknown = [name for name in counts.index if name not in found.classes]
    if unknown:
        said.append(f"objects of {', '.join(unknown)}, which the label map does not have")
    if pipeline is not None:
        boxes = input_boxes(found, pipeline)
        small = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) < SMALL
        if small.any():
            height, width = anchors.input_size(pipeline)
            said.append(
                f"{small.sum()} of {len(small)} boxes are less than {SMALL} pixels across or down "
                f"in the model's input of {width} x {height}: train at a larger size, or crop"
            )
        most = int(found.pictures["objects"].max())
        kept = _most_detections(pipeline)
        if most > kept:
            said.append(f"a picture holds {most} objects, and the model returns {kept} at most")
    return said


def anchor_table(found: Inspection, pipeline: TrainEvalPipelineConfig) -> pd.DataFrame:
    """How the template's anchors fit the boxes, and how those would that `anchors.suggest` finds.

    The second row is there where more boxes would have an anchor, by a percent of them at least.
    """
    boxes = anchors.few(input_boxes(found, pipeline))
    now = anchors.fit(anchors.generate(pipeline), boxes)
    changed, then = anchors.suggest(pipeline, boxes)
    rows = {"as in the template": (now, pipeline)}
    if then.recall >= now.recall + 0.01:
        rows["suggested"] = (then, changed)
    return pd.DataFrame(
        {
            name: {
                "boxes with an anchor of IoU 0.5": f"{fit.recall:.1%}",
                "mean IoU of a box and its best anchor": f"{fit.mean_iou:.3f}",
                **anchors.describe(config),
            }
            for name, (fit, config) in rows.items()
        }
    ).T


def _most_detections(pipeline: TrainEvalPipelineConfig) -> int:
    model = architecture(pipeline)
    if hasattr(model, "second_stage_post_processing"):
        return model.second_stage_post_processing.batch_non_max_suppression.max_total_detections
    return model.post_processing.batch_non_max_suppression.max_total_detections
