"""The rules: what to train, from facts about the data set and the machine.

`pipelines/README.md` lists the rules, and the comparisons that were measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfod.model.anchors import (
    generate_anchors,
    input_size,
    measure_fit,
    sample_boxes,
    suggest_anchors,
)
from tfod.planning.facts import DataFacts, MachineFacts
from tfod.planning.targets import PHONE, SERVER
from tfod.training.growing_input import first_size, mean_cost

if TYPE_CHECKING:
    from pathlib import Path

    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

DEFAULT_MINUTES = 60.0
PHONE_TEMPLATE = "ssd_mobilenet_v2_fpnlite_320x320"
SERVER_TEMPLATE = "ssd_resnet50_v1_fpn_640x640"

SIZES = (320, 384, 448, 512, 640)
# Images per second of `PHONE_TEMPLATE` in training, per CPU core. The first steps measure the real
# speed, which determines the number of steps.
SPEED_BFLOAT16, SPEED_FLOAT32 = 8.0, 3.5
TRAINING_SHARE = 0.85  # of the time; the rest is for starting, tracing and evaluations
SMALL_SIDE = 16  # pixels: objects with smaller sides are often missed
# What a run must process for good results: this many epochs, within these numbers of images.
EPOCHS, FEWEST_IMAGES, ENOUGH_IMAGES = 12, 8_000, 30_000
IMBALANCE = 3
OVERLAPPING = 0.005  # of the objects
BATCH_SIZES = (16, 8, 4)  # images
FEWEST_STEPS = 300
# GB that a training takes, measured at 320 to 576 pixels: in any case, and per million pixels.
MEMORY, MEMORY_OF_PIXELS = 1.2, 1.45
MEMORY_SHARE = 0.7  # of the machine's; other programs need some, too
MOST_EPOCHS = 150
# Words in class names that a mirrored image would make wrong.
SIDES = re.compile(r"(?i)\b(left|right|arrow|turn|east|west|text|digit|letter|plate)\b|^\w$|^\d+$")


@dataclass(frozen=True)
class Wishes:
    """What the user asks for.

    Attributes:
      minutes: duration of the training.
      target: one of `targets.TARGETS`, where the detector will run.
      input_size: of the training, in pixels; None to choose it.
    """

    minutes: float
    target: str = PHONE
    input_size: int | None = None


@dataclass(frozen=True)
class Choice:
    """One decision of a plan.

    Attributes:
      what, value: for example "training size" and "448 x 448 pixels".
      because: the fact that it follows from.
      otherwise: what would change it.
    """

    what: str
    value: str
    because: str
    otherwise: str


def choose_template(machine: MachineFacts, wishes: Wishes) -> tuple[str, Choice]:
    """Chooses the model to start from."""
    if wishes.target == SERVER and machine.gpus:
        because = "a GPU can train it, and a server can run it"
        return SERVER_TEMPLATE, Choice("model", SERVER_TEMPLATE, because, "--for phone")
    because = (
        "it is made for phones, and has a higher COCO mAP than the model without FPN"
        if wishes.target == PHONE
        else "this machine has no GPU, which larger models need for training"
    )
    otherwise = "--for server on a machine with a GPU"
    return PHONE_TEMPLATE, Choice("model", PHONE_TEMPLATE, because, otherwise)


def choose_size(data: DataFacts, machine: MachineFacts, wishes: Wishes) -> tuple[int, Choice]:
    """Chooses the training size in pixels: small objects need a large one, which takes time."""
    what = "training size"
    if size := wishes.input_size:
        return size, Choice(what, f"{size} x {size} pixels", "--input-size says so", "--input-size")
    needed = next((size for size in SIZES if size * data.small_side >= SMALL_SIDE), SIZES[-1])
    images = min(max(EPOCHS * data.images, FEWEST_IMAGES), ENOUGH_IMAGES)
    affordable = SIZES[0]
    for size in SIZES:
        if images_in_time(machine, wishes, size) >= images:
            affordable = size
    size = min(needed, affordable)
    small = f"5 % of the objects have sides below {100 * data.small_side:.1f} % of the image"
    if size == needed:
        because = f"{small}: {size * data.small_side:.0f} pixels at this size"
        otherwise = "other objects"
    else:
        because = (
            f"{small}, but in {wishes.minutes:g} minutes a larger size would see too few images"
        )
        otherwise = f"more --minutes, or a faster machine: up to {needed}"
    return size, Choice(what, f"{size} x {size} pixels", because, otherwise)


def keep_model(folder: Path) -> Choice:
    """Keeps the model of the detector that the training starts from."""
    because = "--init names it, so that nothing it has learned is lost"
    return Choice("model", f"that of {folder}", because, "another --init, or --pipeline")


def keep_size(pipeline: TrainEvalPipelineConfig, wishes: Wishes) -> tuple[int, Choice]:
    """Keeps the training size of a model in pixels, unless the user wants another one."""
    size = wishes.input_size or max(input_size(pipeline))
    because = "--input-size says so" if wishes.input_size else "the earlier training had it"
    value = f"{size} x {size} pixels"
    return size, Choice("training size", value, because, "--input-size")


def keep_anchors() -> Choice:
    """Keeps the anchors of a model, which its heads were trained for."""
    because = "the heads of the earlier detector were trained for them"
    return Choice("anchors", "those of the earlier detector", because, "another --init")


def images_in_time(machine: MachineFacts, wishes: Wishes, size: int) -> float:
    """Estimates how many images a training processes."""
    if machine.gpus:
        return float("inf")
    speed = machine.cores * (SPEED_BFLOAT16 if machine.bfloat16 else SPEED_FLOAT32)
    cost = mean_cost(first_size(size), size) * (size / SIZES[0]) ** 2
    return TRAINING_SHARE * 60 * wishes.minutes * speed / cost


def choose_first_size(size: int) -> tuple[int | None, Choice]:
    """Chooses the training size of the first steps; None for the same as later."""
    what, first = "first steps", first_size(size)
    if first == size:
        because = "an even smaller input had no clear benefit, see pipelines/README.md"
        return None, Choice(what, "at the same size", because, "--first-input-size")
    value = f"at {first} x {first} pixels, two thirds of them"
    share = (first / size) ** 2
    because = f"they take {share:.0%} of the time, and the AP was higher, see pipelines/README.md"
    return first, Choice(what, value, because, "--first-input-size")


def choose_anchors(pipeline: TrainEvalPipelineConfig, data: DataFacts, size: int) -> Choice:
    """Fits the anchors of the pipeline to the boxes, if this matches more of them."""
    boxes = sample_boxes(data.boxes * size)
    before = measure_fit(generate_anchors(pipeline), boxes)
    suggested, after = suggest_anchors(pipeline, boxes)
    otherwise = "other boxes"
    if after.recall < before.recall + 0.01:
        because = f"they match {before.recall:.0%} of the boxes; fitted ones {after.recall:.0%}"
        return Choice("anchors", "those of the template", because, otherwise)
    pipeline.CopyFrom(suggested)
    because = (
        f"they match {after.recall:.0%} of the boxes; those of the template {before.recall:.0%}"
    )
    return Choice("anchors", "fitted to the boxes", because, otherwise)


def choose_balance(data: DataFacts) -> tuple[bool, Choice]:
    """Chooses whether to repeat images of rare classes."""
    frequent = max(data.images_with, key=lambda name: data.images_with[name])
    rare = min(data.images_with, key=lambda name: data.images_with[name])
    balance = data.imbalance >= IMBALANCE
    because = (
        f"{frequent} is in {data.images_with[frequent]} images, {rare} in {data.images_with[rare]}"
        if len(data.images_with) > 1
        else "there is one class"
    )
    value = "images of rare classes are repeated" if balance else "each image once per epoch"
    otherwise = f"more or less than a factor of {IMBALANCE} between the classes"
    return balance, Choice("class balance", value, because, otherwise)


def choose_flip(data: DataFacts) -> tuple[bool, Choice]:
    """Chooses whether to mirror images."""
    sided = [name for name in data.images_with if SIDES.search(name.replace("_", " "))]
    if sided:
        because = f"a mirrored {sided[0]} would be another class"
        return False, Choice("mirroring", "no", because, "other class names")
    because = "no class name suggests a difference between left and right"
    return True, Choice(
        "mirroring", "half of the images", because, "your own config without the flip"
    )


def choose_batch_size(machine: MachineFacts, size: int, images: float) -> tuple[int, Choice]:
    """Chooses the largest batch size that fits into memory and leaves enough steps.

    Args:
      images: number of images that the run will process.
    """
    memory, where = machine.memory, "the GPU" if machine.gpus else "this machine"

    def needed(batch_size: int) -> float:
        return MEMORY + MEMORY_OF_PIXELS * batch_size * size**2 / 1e6

    fitting = [number for number in BATCH_SIZES if needed(number) <= MEMORY_SHARE * memory]
    fitting = fitting or list(BATCH_SIZES[-1:])
    enough = [number for number in fitting if images >= FEWEST_STEPS * number]
    batch_size = (enough or fitting[-1:])[0]
    because = (
        f"training then takes about {needed(batch_size):.1f} GB of memory, of {memory:.0f} GB of "
        f"{where}"
    )
    otherwise = "--batch-size"
    if batch_size != fitting[0]:
        because = (
            f"the training processes about {images:.0f} images, and with larger batches it would "
            f"have fewer than {FEWEST_STEPS} steps"
        )
        otherwise = "--batch-size, or more --minutes"
    return batch_size, Choice("batch size", str(batch_size), because, otherwise)


def choose_suppression(pipeline: TrainEvalPipelineConfig, data: DataFacts) -> Choice:
    """Sets the non-maximum suppression of an SSD pipeline."""
    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    most = max(100, 2 * data.most_objects)
    suppression.max_detections_per_class = suppression.max_total_detections = most
    across = data.overlap_other < OVERLAPPING
    suppression.use_class_agnostic_nms = across
    if across:
        suppression.max_classes_per_detection = 1
    suppression.iou_threshold = 0.6 if data.overlap_same < OVERLAPPING else 0.7
    because = (
        f"{data.overlap_other:.1%} of the objects overlap one of another class, and "
        f"{data.overlap_same:.1%} one of the same class, with an IoU of 0.5 or more"
    )
    value = f"{'across classes' if across else 'per class'}, IoU {suppression.iou_threshold:.1f}"
    return Choice("non-maximum suppression", value, because, "objects that overlap more or less")
