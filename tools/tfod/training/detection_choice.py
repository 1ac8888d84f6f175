"""Chooses the input size for detection and the score threshold of a run, on the val split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tfod.dataset.manifest import Dataset
from tfod.detection.detector import Detector
from tfod.detection.prediction import predict_records
from tfod.errors import UserError
from tfod.evaluation.metrics import evaluate
from tfod.model.anchors import input_size
from tfod.model.detection_file import write_detection
from tfod.model.pipeline import read_pipeline
from tfod.model.run_folder import RunFolder
from tfod.progress import Progress, silent, tracked

# Crops in training enlarge objects, so a larger input often detects more (Touvron et al., "Fixing
# the train-test resolution discrepancy", 2019).
FACTORS = (1.0, 1.15, 1.3, 1.45)
STRIDE = 32  # sizes are multiples of it
MIN_GAIN = 0.005  # of AP, that a larger and slower input must have


@dataclass(frozen=True)
class SizeResult:
    """The val split at one input size.

    Attributes:
      input_size: pixels.
      ap, ap50: COCO's AP and AP50.
      threshold: the score threshold with the best F1.
    """

    input_size: int
    ap: float
    ap50: float
    threshold: float


def choose_detection(
    run: RunFolder,
    data: Dataset,
    progress: Progress = silent,
    factors: Sequence[float] = FACTORS,
) -> None:
    """Evaluates the best checkpoint at several input sizes, and writes `detection.json`.

    The smallest size is chosen whose AP is within `MIN_GAIN` of the highest. The file contains it
    with its threshold, and the results of all sizes. `Detector`, `tfod export` and
    `tfod evaluate --run` use it.

    Args:
      run: a trained run of a model with a fixed square input.
      data: with a val split.
      progress: counts images of all sizes.
      factors: of the training size, which the input sizes are.

    Raises:
      UserError: the memory is too small.
    """
    import tensorflow as tf

    trained, _ = input_size(read_pipeline(run.config))
    sizes = list(dict.fromkeys(round(factor * trained / STRIDE) * STRIDE for factor in factors))
    sizes[0] = trained
    try:
        results = [_result(run, data, size, progress) for size in sizes]
    except tf.errors.ResourceExhaustedError as error:
        what = "is trained, but the memory is too small to choose its input size"
        remedy = (
            "Stop other programs that use the memory and repeat the command, without --overwrite: "
            "it continues there. tfod export works without this choice"
        )
        raise UserError(run.path, what, remedy) from error
    best = max(result.ap for result in results)
    chosen = next(result for result in results if result.ap >= best - MIN_GAIN)
    write_detection(
        run.detection,
        data.tiles,
        input_size=chosen.input_size,
        threshold=chosen.threshold,
        val=[asdict(result) for result in results],
    )


def _result(run: RunFolder, data: Dataset, size: int, progress: Progress) -> SizeResult:
    part = data.split("val")
    detector = Detector.load(run.path, size)
    ground_truth, detected = [], []
    predictions = predict_records(detector, part.shards)
    title = f"val at {size} x {size}"
    for annotation, in_image in tracked(predictions, progress, title, part.images):
        ground_truth.append(annotation)
        detected.append(in_image)
    metrics, _ = evaluate(ground_truth, detected, data.classes.values())
    ap, ap50 = metrics.coco["AP"] or 0.0, metrics.coco["AP50"] or 0.0
    return SizeResult(size, ap, ap50, metrics.threshold)
