"""Measures how well a template's anchors fit the boxes of a data set, and suggests better ones.

A ground-truth box trains the box predictor through the anchors that overlap it with an IoU of at
least 0.5. A box without such an anchor is assigned to its best anchor only, and is learned slowly.

All boxes and anchors here are float32 `[N, 4]`: ymin, xmin, ymax, xmax in pixels of the model's
input, unless stated otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfod.model.pipeline import architecture

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

MATCHED_IOU = 0.5
MAX_BOXES = 500  # more boxes take longer and hardly change the result
ANCHOR_SCALES = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # tried for multiscale anchor generators
SSD_STRIDE = 16  # of the first feature map of ssd_mobilenet_v2; it doubles from map to map


@dataclass(frozen=True)
class AnchorFit:
    """How well anchors fit boxes.

    Attributes:
      recall: fraction of the boxes that overlap an anchor with an IoU of at least 0.5.
      mean_iou: IoU of a box and its best anchor, averaged over the boxes.
    """

    recall: float
    mean_iou: float


def input_size(pipeline: TrainEvalPipelineConfig) -> tuple[int, int]:
    """Returns (height, width) of the model's input in pixels.

    For a resizer that keeps the aspect ratio, this is the square that the image is padded to.
    """
    resizer = architecture(pipeline).image_resizer
    if resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer":
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    longest = resizer.keep_aspect_ratio_resizer.max_dimension
    return longest, longest


def normalized_to_input_pixels(
    pipeline: TrainEvalPipelineConfig, boxes: np.ndarray, image_sizes: np.ndarray
) -> np.ndarray:
    """Converts normalized boxes to pixels of the model's input, after its image resizer.

    Args:
      boxes: float `[N, 4]`: ymin, xmin, ymax, xmax, normalized to [0, 1].
      image_sizes: `[N, 2]`: height and width in pixels of the image of each box.

    Returns:
      float32 `[N, 4]`: ymin, xmin, ymax, xmax in pixels of the input.
    """
    resizer = architecture(pipeline).image_resizer
    if resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer":
        resized = np.broadcast_to(input_size(pipeline), image_sizes.shape)
    else:
        limits = resizer.keep_aspect_ratio_resizer
        scale = np.minimum(
            limits.min_dimension / image_sizes.min(axis=1),
            limits.max_dimension / image_sizes.max(axis=1),
        )
        resized = image_sizes * scale[:, None]
    return (boxes * np.tile(resized, 2)).astype(np.float32)


def generate_anchors(pipeline: TrainEvalPipelineConfig) -> np.ndarray:
    """Generates all anchors of the model.

    Source: `object_detection.builders.anchor_generator_builder`, called as the `_anchors` of
    `SSDMetaArch` and `FasterRCNNMetaArch` are computed.

    Returns:
      float32 `[A, 4]`: ymin, xmin, ymax, xmax in pixels of the input.
    """
    from object_detection.builders import anchor_generator_builder

    config = _anchor_config(pipeline)
    kind = config.WhichOneof("anchor_generator_oneof")
    height, width = input_size(pipeline)

    def feature_map_sizes(strides: Sequence[int]) -> list[tuple[int, int]]:
        return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]

    generator = anchor_generator_builder.build(config)
    if kind == "multiscale_anchor_generator":
        levels = config.multiscale_anchor_generator
        sizes = feature_map_sizes([2**n for n in range(levels.min_level, levels.max_level + 1)])
        box_lists = generator.generate(sizes, im_height=height, im_width=width)
        normalized = levels.normalize_coordinates
    elif kind == "ssd_anchor_generator":
        layers = config.ssd_anchor_generator.num_layers
        sizes = feature_map_sizes([SSD_STRIDE << layer for layer in range(layers)])
        box_lists = generator.generate(sizes, im_height=height, im_width=width)
        normalized = True
    else:
        stride = config.grid_anchor_generator.height_stride
        box_lists = generator.generate(feature_map_sizes([stride]))
        normalized = False
    anchors = np.concatenate([boxes.get().numpy() for boxes in box_lists])
    return anchors * np.array([height, width] * 2, np.float32) if normalized else anchors


def measure_fit(anchors: np.ndarray, boxes: np.ndarray) -> AnchorFit:
    """Compares anchors `[A, 4]` with boxes `[N, 4]`; N must not be 0."""
    best = np.empty(len(boxes), np.float32)
    areas = _areas(anchors)
    for index, box in enumerate(boxes):
        low, high = np.maximum(anchors[:, :2], box[:2]), np.minimum(anchors[:, 2:], box[2:])
        overlap = np.prod(np.maximum(high - low, 0), axis=1)
        best[index] = np.max(overlap / (areas + _areas(box[None]) - overlap))
    return AnchorFit(float((best >= MATCHED_IOU).mean()), float(best.mean()))


def suggest_anchors(
    pipeline: TrainEvalPipelineConfig, boxes: np.ndarray
) -> tuple[TrainEvalPipelineConfig, AnchorFit]:
    """Returns a copy of the pipeline whose anchors fit the boxes better, and their fit.

    The aspect ratios, and the scales of a grid generator, are the centers of k-means clusters over
    the logarithms of the boxes' values. The scale of a multiscale generator is searched. The scales
    of an SSD generator are the 5th and 95th percentiles of the box sizes. The number of anchors per
    location does not change, so checkpoints of the template still fit.
    """
    suggested = type(pipeline)()
    suggested.CopyFrom(pipeline)
    config = _anchor_config(suggested)
    kind = config.WhichOneof("anchor_generator_oneof")
    generator = getattr(config, kind)
    sides = boxes[:, 2:] - boxes[:, :2]
    aspect_ratios = _cluster_centers(sides[:, 1] / sides[:, 0], len(generator.aspect_ratios))
    generator.aspect_ratios[:] = aspect_ratios
    edges = np.sqrt(_areas(boxes))
    if kind == "multiscale_anchor_generator":
        fits = {}
        for scale in ANCHOR_SCALES:
            generator.anchor_scale = scale
            fits[scale] = measure_fit(generate_anchors(suggested), boxes)
        generator.anchor_scale = max(fits, key=lambda scale: (fits[scale].recall, scale))
        return suggested, fits[generator.anchor_scale]
    if kind == "ssd_anchor_generator":
        low, high = np.percentile(edges / min(input_size(pipeline)), [5, 95])
        generator.min_scale, generator.max_scale = round(float(low), 2), round(float(high), 2)
    else:
        generator.scales[:] = _cluster_centers(edges / generator.height, len(generator.scales))
    return suggested, measure_fit(generate_anchors(suggested), boxes)


def describe_anchors(pipeline: TrainEvalPipelineConfig) -> dict[str, str]:
    """Returns the fields of `pipeline.config` that determine the anchors, as text by field name."""
    config = _anchor_config(pipeline)
    generator = getattr(config, config.WhichOneof("anchor_generator_oneof"))
    fields = {}
    for name in ("anchor_scale", "min_scale", "max_scale", "scales", "aspect_ratios"):
        value = getattr(generator, name, None)
        if value is not None:
            values = [value] if isinstance(value, float) else value
            fields[name] = ", ".join(f"{number:.3g}" for number in values)
    return fields


def sample_boxes(boxes: np.ndarray) -> np.ndarray:
    """Returns at most `MAX_BOXES` of the boxes: a fixed random sample."""
    if len(boxes) <= MAX_BOXES:
        return boxes
    return boxes[np.random.default_rng(0).choice(len(boxes), MAX_BOXES, replace=False)]


def _anchor_config(pipeline: TrainEvalPipelineConfig):
    """Returns the `AnchorGenerator` message of the model; of a Faster R-CNN, its first stage's."""
    model = architecture(pipeline)
    if hasattr(model, "first_stage_anchor_generator"):
        return model.first_stage_anchor_generator
    return model.anchor_generator


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _cluster_centers(values: np.ndarray, count: int) -> list[float]:
    """Clusters positive values by their logarithms and returns `count` centers, ascending.

    If there are fewer distinct values, the largest center is repeated.
    """
    from sklearn.cluster import KMeans

    logs = np.log(values)[:, None]
    clusters = min(count, len(np.unique(logs)))
    means = KMeans(clusters, n_init=10, random_state=0).fit(logs).cluster_centers_
    centers = sorted(round(float(np.exp(mean[0])), 2) for mean in means)
    return centers + centers[-1:] * (count - clusters)
