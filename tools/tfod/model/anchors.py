"""How well the anchors of a template fit the boxes of a data set, and which would fit better.

An object teaches the box predictor through the anchors that overlap it by an IoU of 0.5 and more;
one that no anchor overlaps so far gets the best there is, which learns slowly. All boxes here are
float32 `[N, 4]`: ymin, xmin, ymax, xmax in pixels of the model's input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.model.pipeline import architecture

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

MATCHED = 0.5
ENOUGH_BOXES = 500  # to judge by; more only take longer
ANCHOR_SCALES = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
SSD_STRIDE = 16  # of the first feature map of ssd_mobilenet_v2; each further one is half as large


@dataclass(frozen=True)
class AnchorFit:
    """How boxes and anchors meet.

    Attributes:
      recall: share of the boxes that some anchor overlaps by an IoU of 0.5 or more.
      mean_iou: of each box and its best anchor.
    """

    recall: float
    mean_iou: float


def input_size(pipeline: TrainEvalPipelineConfig) -> tuple[int, int]:
    """(height, width) of the model's input; where aspect is kept, of the padded square."""
    resizer = architecture(pipeline).image_resizer
    if resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer":
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    longest = resizer.keep_aspect_ratio_resizer.max_dimension
    return longest, longest


def to_input(pipeline: TrainEvalPipelineConfig, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes as the model sees them.

    Args:
      boxes: float `[N, 4]`, ymin, xmin, ymax, xmax normalized to [0, 1].
      sizes: `[N, 2]`, height and width in pixels of the picture of each box.
    """
    resizer = architecture(pipeline).image_resizer
    if resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer":
        scale = np.broadcast_to(input_size(pipeline), sizes.shape)
    else:
        limits = resizer.keep_aspect_ratio_resizer
        enlarge = np.minimum(
            limits.min_dimension / sizes.min(axis=1), limits.max_dimension / sizes.max(axis=1)
        )
        scale = sizes * enlarge[:, None]
    return (boxes * np.tile(scale, 2)).astype(np.float32)


def generate(pipeline: TrainEvalPipelineConfig) -> np.ndarray:
    """Every anchor of the model.

    Source: `object_detection.builders.anchor_generator_builder`, and the `_anchors` of
    `SSDMetaArch` and `FasterRCNNMetaArch`.
    """
    from object_detection.builders import anchor_generator_builder

    config = _config(pipeline)
    kind = config.WhichOneof("anchor_generator_oneof")
    height, width = input_size(pipeline)

    def maps(strides):
        return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]

    generator = anchor_generator_builder.build(config)
    if kind == "multiscale_anchor_generator":
        levels = config.multiscale_anchor_generator
        strides = [2**level for level in range(levels.min_level, levels.max_level + 1)]
        found = generator.generate(maps(strides), im_height=height, im_width=width)
        normalized = levels.normalize_coordinates
    elif kind == "ssd_anchor_generator":
        strides = [SSD_STRIDE << layer for layer in range(config.ssd_anchor_generator.num_layers)]
        found = generator.generate(maps(strides), im_height=height, im_width=width)
        normalized = True
    else:
        found = generator.generate(maps([config.grid_anchor_generator.height_stride]))
        normalized = False
    anchors = np.concatenate([boxes.get().numpy() for boxes in found])
    return anchors * np.float32([height, width] * 2) if normalized else anchors


def fit(anchors: np.ndarray, boxes: np.ndarray) -> AnchorFit:
    """Compares `[A, 4]` anchors with `[N, 4]` boxes, N above 0."""
    best = np.empty(len(boxes), np.float32)
    areas = _areas(anchors)
    for index, box in enumerate(boxes):
        low, high = np.maximum(anchors[:, :2], box[:2]), np.minimum(anchors[:, 2:], box[2:])
        overlap = np.prod(np.maximum(high - low, 0), axis=1)
        best[index] = np.max(overlap / (areas + _areas(box[None]) - overlap))
    return AnchorFit(float((best >= MATCHED).mean()), float(best.mean()))


def suggest(
    pipeline: TrainEvalPipelineConfig, boxes: np.ndarray
) -> tuple[TrainEvalPipelineConfig, AnchorFit]:
    """The pipeline with anchors that suit the boxes, as many as before, and how they fit.

    Aspect ratios, and of a grid generator scales, are the centres of k-means over the logarithms
    of those of the boxes; the scale of the others is searched. The number of anchors a place stays,
    so that checkpoints of the template still fit.
    """
    changed = type(pipeline)()
    changed.CopyFrom(pipeline)
    config = _config(changed)
    kind = config.WhichOneof("anchor_generator_oneof")
    generator = getattr(config, kind)
    sides = boxes[:, 2:] - boxes[:, :2]
    _replace(generator.aspect_ratios, _centres(sides[:, 1] / sides[:, 0], generator.aspect_ratios))
    edges = np.sqrt(_areas(boxes))
    if kind == "multiscale_anchor_generator":
        fits = {}
        for scale in ANCHOR_SCALES:
            generator.anchor_scale = scale
            fits[scale] = fit(generate(changed), boxes)
        generator.anchor_scale = max(fits, key=lambda scale: (fits[scale].recall, scale))
        return changed, fits[generator.anchor_scale]
    if kind == "ssd_anchor_generator":
        low, high = np.percentile(edges / min(input_size(pipeline)), [5, 95])
        generator.min_scale, generator.max_scale = round(float(low), 2), round(float(high), 2)
    else:
        _replace(generator.scales, _centres(edges / generator.height, generator.scales))
    return changed, fit(generate(changed), boxes)


def describe(pipeline: TrainEvalPipelineConfig) -> dict[str, str]:
    """The fields that shape the anchors, as they stand in `pipeline.config`."""
    config = _config(pipeline)
    generator = getattr(config, config.WhichOneof("anchor_generator_oneof"))
    shown = {}
    for name in ("anchor_scale", "min_scale", "max_scale", "scales", "aspect_ratios"):
        value = getattr(generator, name, None)
        if value is not None:
            values = [value] if isinstance(value, float) else value
            shown[name] = ", ".join(f"{number:.3g}" for number in values)
    return shown


def few(boxes: np.ndarray) -> np.ndarray:
    """The boxes, or where there are many, some of them, the same each time."""
    if len(boxes) <= ENOUGH_BOXES:
        return boxes
    return boxes[np.random.default_rng(0).choice(len(boxes), ENOUGH_BOXES, replace=False)]


def _config(pipeline: TrainEvalPipelineConfig):
    model = architecture(pipeline)
    if hasattr(model, "first_stage_anchor_generator"):
        return model.first_stage_anchor_generator
    return model.anchor_generator


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _centres(values: np.ndarray, like) -> list[float]:
    """As many cluster centres of positive values as `like` has, ascending."""
    from sklearn.cluster import KMeans

    logs = np.log(values)[:, None]
    count = min(len(like), len(np.unique(logs)))
    means = KMeans(count, n_init=10, random_state=0).fit(logs).cluster_centers_
    centres = sorted(round(float(np.exp(mean[0])), 2) for mean in means)
    return centres + centres[-1:] * (len(like) - count)


def _replace(repeated, values: list[float]) -> None:
    del repeated[:]
    repeated.extend(values)
